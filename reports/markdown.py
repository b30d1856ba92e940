"""A report as GitHub-flavoured Markdown; text of the run is escaped, so it is neither markup nor HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from reports.model import (
    Bullets,
    Card,
    Facts,
    Heading,
    Line,
    Notice,
    Paragraph,
    Picture,
    Report,
    Source,
    Span,
    Table,
)
from reports.ours import MARKDOWN_MARK
from reports.text import MARK

SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$^=:@])")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
TONES = {"gap": "GAP", "warning": "WARNING", "invented": "MINIATURE", "note": "NOTE"}


def escape(text: str) -> str:
    """Text that Markdown shows as it is: nothing in it is markup, a table cell, a mention or HTML."""
    safe = SPECIAL.sub(r"\\\1", text)
    return "".join(ENTITIES.get(character, character) for character in safe)


def markdown_of(report: Report) -> str:
    """The whole document."""
    parts = [MARKDOWN_MARK, f"# {escape(report.title)}: {escape(report.run)}", escape(report.subject)]
    if report.miniature:
        parts.append("**MINIATURE: every number in this report is invented**")
    for place, section in enumerate(report.sections, start=1):
        parts += [f"## {place} {escape(section.title)}", f"*{escape(section.question)}*"]
        for block in section.blocks:
            parts += list(WRITERS[type(block)](block))
    parts.append(f"manifest SHA-256 `{report.manifest}`")
    return "\n\n".join(part for part in parts if part) + "\n"


def _span(span: Span) -> str:
    key = "" if span.key is None or span.style == "quiet" else f" <sup>{MARK}{span.key}</sup>"
    text = escape(span.text)
    if not text.strip():
        return text + key
    stressed = span.style in ("strong", "gap", "verdict")
    return f"{_around(text, '**')}{key}" if stressed else text + key


def _around(text: str, mark: str) -> str:
    """Emphasis must hug its words: spaces at the ends stay outside."""
    inner = text.strip()
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return f"{before}{mark}{inner}{mark}{after}"


def _line(line: Line) -> str:
    return "".join(_span(span) for span in line).strip()


def _list(lines: tuple[Line, ...]) -> str:
    return "\n".join(f"- {_line(line)}" for line in lines)


def _source(source: Source | None) -> str:
    return "" if source is None else f" Source {escape(source.file)}, SHA\\-256 {source.sha256[:16]}…"


def _table(block: Table) -> Iterator[str]:
    note = "" if block.note is None else f" {escape(block.note)}."
    yield f"**{escape(block.title)}**.{note}{_source(block.source)}"
    if not block.rows:
        yield "*no rows*"
        return
    rules = ["---:" if column.align == "right" else "---" for column in block.columns]
    rows = [[escape(column.name) for column in block.columns], rules]
    rows += [[_line(cell) or " " for cell in row] for row in block.rows]
    yield "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _card(block: Card) -> Iterator[str]:
    key = "" if block.key is None else f" <sup>{MARK}{block.key}</sup>"
    yield f"### {escape(block.name)}: {escape(block.word)}{key}"
    yield _line(block.lead)
    yield _list(block.reasons)
    if block.missing:
        yield f"What a firmer verdict would need:\n\n{_list(block.missing)}"


def _notice(block: Notice) -> Iterator[str]:
    word = TONES.get(block.tone)
    head = f"**{f'{word}: ' if word else ''}{escape(block.title)}**"
    said = [f"> {head}", *(f">\n> - {_line(line)}" for line in block.lines)]
    yield "\n".join(said)


def _facts(block: Facts) -> Iterator[str]:
    rows = [f"| {escape(name)} | {_line(line)} |" for name, line in block.rows]
    yield "\n".join(["| | |", "|---|---|", *rows])


def _picture(block: Picture) -> Iterator[str]:
    said = f"*Figure: {escape(block.title)}.* {escape(block.alt)} It is in the PDF and the web page."
    yield said + _source(block.source)


WRITERS: dict[type, Callable[[Any], Iterator[str]]] = {
    Paragraph: lambda block: iter([_line(block.line)]),
    Bullets: lambda block: iter([_list(block.lines)]),
    Heading: lambda block: iter([f"### {escape(block.text)}"]),
    Facts: _facts,
    Table: _table,
    Picture: _picture,
    Card: _card,
    Notice: _notice,
}
