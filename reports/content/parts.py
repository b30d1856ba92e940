"""Pieces that several sections use: slots, lists of sentences, pictures, gaps."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.ledger import Entry, Evidence, UnreadableError
from reports.model import (
    Align,
    Block,
    Bullets,
    Column,
    Line,
    Notice,
    Picture,
    Section,
    Source,
    Span,
    Table,
    gap,
    gap_notice,
    line,
)
from reports.numbers import DASH, NOT_MEASURED, number, provisos

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def columns(*named: str | tuple[str, float]) -> tuple[Column, ...]:
    """Columns by name, or name and width; a name that ends in `>` is set flush right."""
    made = []
    for one in named:
        name, width = one if isinstance(one, tuple) else (one, 1.0)
        align: Align = "right" if name.endswith(">") else "left"
        made.append(Column(name.removesuffix(">"), align, width))
    return tuple(made)


def code(text: str) -> Span:
    """A name, a path, a hash."""
    return Span(text, "code")


def quiet(text: str) -> Span:
    """Said in a low voice."""
    return Span(text, "quiet")


def strong(text: str) -> Span:
    """Stressed."""
    return Span(text, "strong")


def raw(text: str) -> Line:
    """A cell whose number comes from the table's source, or a gap."""
    return line(gap(text) if text == NOT_MEASURED else Span(text))


def absent(evidence: Evidence, stage: str, what: str) -> Notice:
    """Why a stage's section is empty."""
    why = evidence.why_missing(stage)
    return gap_notice(f"Not measured: {what}", line(f"The stage {stage} gave no evidence: {why}."))


def not_part(evidence: Evidence, what: str) -> Notice:
    """A section that this kind of run never has."""
    kind = evidence.manifest.kind
    return gap_notice(f"Not measured: {what}", line(f"A run of the kind “{kind}” does not measure it."))


def sentences(evidence: Evidence, entries: Iterable[Entry]) -> list[Block]:
    """The statements of some claims, and under each what it presupposes."""
    lines = []
    for entry in entries:
        lines.append((evidence.sentence(entry), *_provisos(entry)))
    return [Bullets(tuple(lines))] if lines else []


def _provisos(entry: Entry) -> list[Span]:
    """The conditions under which a claim is to be read; part of the claim, so withheld with it."""
    said = provisos(entry.claim)
    return [] if not said or not entry.holds or entry.reworded else [Span(f" {said}", "quiet", entry.number)]


def claims_table(evidence: Evidence, title: str, entries: Sequence[Entry]) -> Table:
    """Claims one by one: what is said, its number, how many units stand behind it."""
    rows = tuple(
        (
            line(_words(entry)),
            line(evidence.slot(entry.claim.id)),
            line(count_of(entry)),
        )
        for entry in entries
    )
    return Table(title, columns(("claim", 3.4), ("value", 1.8), ("n>", 0.6)), rows)


def _words(entry: Entry) -> Span:
    return (
        code(entry.claim.id)
        if entry.reworded or not entry.holds
        else Span(entry.claim.statement, key=entry.number)
    )


def count_of(entry: Entry) -> Span:
    """N of a claim."""
    return quiet(DASH) if entry.claim.n is None else Span(number(entry.claim.n))


def picture(
    name: str, title: str, alt: str, source: Source | Callable[[], Source], draw: Callable[[], Figure | None]
) -> Block:
    """A figure; a gap where its table cannot be used or holds nothing to draw."""
    from reports.figures.style import look, svg_of

    try:
        with look():
            figure = draw()
            if figure is None:
                return gap_notice(f"No figure: {title}", line("Its table holds nothing that can be drawn."))
            svg = svg_of(figure)
    except UnreadableError as error:
        return gap_notice(f"No figure: {title}", line(f"{error}."))
    return Picture(name, title, alt, svg, source() if callable(source) else source)


def section(name: str, title: str, question: str, blocks: Iterable[Block]) -> Section:
    """A section."""
    return Section(name, title, question, tuple(blocks))


@cache
def texts(name: str) -> dict[str, Any]:
    """The fixed texts of `name`.toml in this folder."""
    return tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))
