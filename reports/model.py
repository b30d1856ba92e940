"""What a report is made of, before anybody decides how it looks: sections of blocks of lines of spans.

Every string goes through `reports.text.clean` when a span, a heading or a caption is made, so no renderer
can forget it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reports.text import clean

Style = Literal["plain", "strong", "code", "quiet", "gap", "verdict"]
Tone = Literal["gap", "warning", "invented", "note", "pass", "block", "inconclusive"]
Align = Literal["left", "right"]


class _Cleaned:
    """Cleans the fields that hold text when the object is made."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str):
                object.__setattr__(self, name, clean(value))


@dataclass(frozen=True)
class Span(_Cleaned):
    """Some words in one style."""

    text: str
    style: Style = "plain"
    key: int | None = None
    """Number of the claim that the words come from; printed behind them, unless they are quiet."""


Line = tuple[Span, ...]


@dataclass(frozen=True)
class Source(_Cleaned):
    """The file of the run folder that numbers outside the ledger, or a figure, were read from."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    line: Line


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Heading(_Cleaned):
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Names and what stands behind them."""

    rows: tuple[tuple[str, Line], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple((clean(name), line) for name, line in self.rows))


@dataclass(frozen=True)
class Column(_Cleaned):
    """A column of a table."""

    name: str
    align: Align = "left"
    width: float = 1.0
    """Share of the table's width, against the other columns."""


@dataclass(frozen=True)
class Table(_Cleaned):
    """A table; its rows come from the ledger (spans with keys) or from `source`."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Line, ...], ...]
    source: Source | None = None
    note: str | None = None


@dataclass(frozen=True)
class Picture:
    """A figure, as SVG whose letters are outlines."""

    name: str
    """Plain letters and hyphens: the file that the PDF is made from has this name."""
    title: str
    alt: str
    svg: str
    source: Source

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", clean(self.title))
        object.__setattr__(self, "alt", clean(self.alt))


@dataclass(frozen=True)
class Card(_Cleaned):
    """One behaviour on the first page: its verdict, the number behind it, why, and what is missing."""

    name: str
    word: str
    key: int | None
    lead: Line
    reasons: tuple[Line, ...]
    missing: tuple[Line, ...]


@dataclass(frozen=True)
class Notice(_Cleaned):
    """Something set apart: a gap, a warning, the result of a gate."""

    tone: Tone
    title: str
    lines: tuple[Line, ...] = ()


Block = Paragraph | Bullets | Heading | Facts | Table | Picture | Card | Notice


@dataclass(frozen=True)
class Section(_Cleaned):
    """One chapter; `name` is its address."""

    name: str
    title: str
    question: str
    """What the section answers, in one sentence."""
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """A whole report. `run` and the rest stand on every page."""

    run: str
    title: str
    kind: str
    subject: str
    """The models, as one line."""
    created: str
    """Time of the manifest, ISO 8601: a report has no clock of its own."""
    manifest: str
    """SHA-256 of manifest.json."""
    miniature: bool
    made_with: str
    """Versions that the bytes depend on."""
    sections: tuple[Section, ...]

    def __post_init__(self) -> None:
        for name in ("run", "title", "subject", "created"):
            object.__setattr__(self, name, clean(getattr(self, name), 160))


def line(*parts: str | Span) -> Line:
    """A line of plain words and spans."""
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def gap(why: str) -> Span:
    """What stands where a number should."""
    return Span(why, "gap")


def gap_notice(title: str, *lines: Line) -> Notice:
    """A section's evidence that is not there."""
    return Notice("gap", title, lines)
