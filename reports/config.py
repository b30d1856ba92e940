"""What `audit report` can be asked for; the command is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from audit.errors import UsageError

Format = Literal["pdf", "html", "md", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class ReportConfig:
    """Settings of `audit report`.

    Raises:
        UsageError: a value makes no sense.
    """

    run: str
    """Run folder; it is read, and written to only where --out lies in it."""
    out: str | None = None
    """File to write; without it report.FORMAT in the run folder. An earlier report is replaced."""
    format: str = "pdf"
    """pdf, html, md or json."""
    policy: str | None = None
    """Policy file (TOML) of `audit gate`: its result then stands on the first page."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(
                f"There is no format {self.format[:40]!r}.",
                where="--format",
                fix=f"choose one of {', '.join(FORMATS)}",
            )
