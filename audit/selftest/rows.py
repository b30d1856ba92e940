"""The rows of evidence of a selftest: all that its thresholds and its record are made from."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from audit.errors import UsageError
from audit.evidence.files import read_json
from audit.selftest.cell import Found


class Rows(BaseModel):
    """What the audits of a selftest found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    """That made the organisms and audited them."""
    organisms: tuple[Found, ...]


def read_rows(path: Path) -> Rows:
    """The rows of an `evidence.json`.

    Raises:
        RunFolderError: it cannot be read, or is no JSON.
        UsageError: it holds something else, or nothing.
    """
    try:
        rows = Rows.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UsageError(
            f"The file holds no rows of evidence that this version can read: {first['msg']}.",
            where=f"{path}: {field}",
            fix="name the stages/selftest/evidence.json of a selftest by this version",
        ) from error
    if not rows.organisms:
        raise UsageError(
            "The file holds rows of no organism.",
            where=str(path),
            fix="name the stages/selftest/evidence.json of a finished selftest",
        )
    return rows
