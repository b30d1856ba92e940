"""A report as PDF/A-3a and PDF/UA-1, set by typst; the template reads data and never runs it.

Everything that typst may read lies in a private folder made for one compilation: the template, the report as
JSON, the figures. Text of a run reaches the page as strings, so it cannot become markup; nothing outside that
folder can be read, and no package or font is fetched.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from audit.errors import OutputError
from reports.data import report_json
from reports.model import Picture, Report

if TYPE_CHECKING:
    import typst

HERE = Path(__file__).parent
STANDARDS: list[Literal["a-3a", "ua-1"]] = ["a-3a", "ua-1"]
REPORT = "report.json"


@dataclass(frozen=True)
class Attachment:
    """A file that travels inside the PDF."""

    name: str
    """Plain letters, dots and hyphens."""
    content: bytes
    media_type: str
    description: str


def pdf_of(report: Report, attachments: tuple[Attachment, ...] = ()) -> bytes:
    """The PDF's bytes: the same for the same report and attachments."""
    with tempfile.TemporaryDirectory(prefix="unmask-report-") as folder:
        root = Path(folder)
        _lay_out(root, report, attachments)
        return _compile(root, report)


def pages_of(report: Report, *, dots_per_inch: int = 72) -> list[bytes]:
    """The pages as PNG, for previews."""
    with tempfile.TemporaryDirectory(prefix="unmask-report-") as folder:
        root = Path(folder)
        _lay_out(root, report, ())
        made = _compiler(root).compile(format="png", ppi=float(dots_per_inch))
        return [bytes(made)] if isinstance(made, bytes) else [bytes(page) for page in made or []]


def _lay_out(root: Path, report: Report, attachments: tuple[Attachment, ...]) -> None:
    for source in sorted((HERE / "template").glob("*.typ")):
        (root / source.name).write_bytes(source.read_bytes())
    (root / REPORT).write_text(report_json(report, figures=False), encoding="utf-8")
    (root / "figures").mkdir()
    for picture in pictures(report):
        (root / "figures" / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8")
    for one in attachments:
        (root / one.name).write_bytes(one.content)
    listing = [{"name": a.name, "type": a.media_type, "description": a.description} for a in attachments]
    (root / "attached.json").write_text(json.dumps(listing), encoding="utf-8")


def pictures(report: Report) -> list[Picture]:
    """All figures of a report."""
    return [block for section in report.sections for block in section.blocks if isinstance(block, Picture)]


def _compile(root: Path, report: Report) -> bytes:
    import typst

    made = datetime.fromisoformat(report.created)
    moment = made if made.tzinfo else made.replace(tzinfo=UTC)
    try:
        found = _compiler(root).compile(format="pdf", pdf_standards=[*STANDARDS], timestamp=moment)
    except typst.TypstError as error:
        raise OutputError(
            f"The report cannot be set: {error.message}.", where="typst", fix="use --format html, and tell us"
        ) from error
    return bytes(found)  # type: ignore[arg-type]  # one PDF, and not a list of pages


def _compiler(root: Path) -> typst.Compiler:
    import typst

    nowhere = root / "packages"
    return typst.Compiler(
        root / "report.typ", root=root, font_paths=_fonts(), package_path=nowhere, package_cache_path=nowhere
    )


@cache
def _fonts() -> typst.Fonts:
    import typst

    return typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(HERE / "fonts")]
    )
