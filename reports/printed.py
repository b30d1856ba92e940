"""What a PDF's pages must say, in order, if they say what the report's data says; and what they do say.

The expectation is made from the report as data, so that a change of a single digit on a page shows. Only the
figures are not read back: their letters are outlines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reports.text import MARK

FIXED = ("WHY", "WHATAFIRMERVERDICTWOULDNEED", "norows", "…")
"""Words that the template adds between the texts of the report."""
SIGNS = frozenset("•=■▲○◆?·!✗✓\N{EN DASH}")
"""Marks of lists, verdicts and notices."""
CONTENTS = "Contents"


@dataclass(frozen=True)
class Piece:
    """Text that must stand next; `between` may come before it again, as a table's head on a new page."""

    text: str
    between: str = ""
    after_contents: bool = False
    """Whether the page of contents lies before it."""


def compact(text: str) -> str:
    """Text without spaces and with look-alike code points folded: what survives printing and reading back."""
    folded = unicodedata.normalize("NFKC", text).replace("\u2010", "-").replace("\u2011", "-")
    return "".join(c for c in folded if not c.isspace() and c != "\u200b")


def pieces(report: dict[str, Any]) -> Iterator[Piece]:
    """Every text of the report, in the order of the pages."""
    yield Piece(f"{report['title'].upper()} · {report['created'][:10]}")
    yield Piece(report["run"])
    yield Piece(report["subject"])
    for place, section in enumerate(report["sections"], start=1):
        yield Piece(f"{place} {section['title']}", after_contents=place == 2)
        yield Piece(section["question"])
        for block in section["blocks"]:
            yield from _block(block)


def _block(block: dict[str, Any]) -> Iterator[Piece]:
    makers: dict[str, Callable[[], Iterable[Piece]]] = {
        "paragraph": lambda: [Piece(_line(block["line"]))],
        "bullets": lambda: [Piece(_line(line)) for line in block["lines"]],
        "heading": lambda: [Piece(block["text"])],
        "facts": lambda: [Piece(name + _line(line)) for name, line in block["rows"]],
        "table": lambda: _table(block),
        "picture": lambda: [Piece(f"{block['title']}. {block['alt']}{_source(block['source'])}")],
        "card": lambda: _card(block),
        "notice": lambda: [Piece(block["title"]), *(Piece(_line(line)) for line in block["lines"])],
    }
    yield from makers[block["type"]]()


def _table(block: dict[str, Any]) -> Iterator[Piece]:
    head = "".join(column["name"] for column in block["columns"])
    note = "" if block["note"] is None else f". {block['note']}"
    yield Piece(f"{block['title']}{note}{_source(block['source'])}")
    if block["rows"]:
        yield Piece(head)
    for row in block["rows"]:
        yield Piece("".join(_line(cell) for cell in row), between=head)


def _card(block: dict[str, Any]) -> Iterator[Piece]:
    yield Piece(block["name"])
    yield Piece(block["word"] + _key(block["key"]))
    yield Piece(_line(block["lead"]))
    for line in (*block["reasons"], *block["missing"]):
        yield Piece(_line(line))


def _source(source: dict[str, Any] | None) -> str:
    return "" if source is None else f"Source {source['file']}, SHA-256 {source['sha256'][:16]}…"


def _line(line: Sequence[dict[str, Any]]) -> str:
    return "".join(span["text"] + _key(None if span["style"] == "quiet" else span["key"]) for span in line)


def _key(key: int | None) -> str:
    return "" if key is None else f"{MARK}{key}"


def furniture(report: dict[str, Any], page: int, pages: int) -> tuple[str, str]:
    """What stands above and below the text of a page."""
    invented = "MINIATURE · invented numbers" if report["miniature"] else report["created"][:10]
    above = f"{report['title']} · {report['run']}{invented}"
    return compact(above), compact(f"manifest SHA-256 {report['manifest'][:16]}… page {page} of {pages}")


def differences(report: dict[str, Any], pages: Sequence[str]) -> list[str]:
    """Where the pages part from the report: the first place, for all that follows is out of step."""
    found, body = [], ""
    for number, text in enumerate(pages, start=1):
        said = compact(text)
        above, below = furniture(report, number, len(pages))
        if not (said.startswith(above) and said.endswith(below)):
            found.append(f"page {number} does not carry the run, the manifest's hash and its number")
        body += said.removeprefix(above).removesuffix(below)
    return found or _compare(body, list(pieces(report)))


def _compare(body: str, expected: Sequence[Piece]) -> list[str]:
    at = 0
    for piece in expected:
        wanted = compact(piece.text)
        start = body.find(wanted, at)
        if start < 0:
            return [f"the pages do not say: {_short(piece.text)}"]
        if piece.after_contents:
            start = _after_contents(body, wanted, at)
        elif extra := _unexpected(body[at:start], compact(piece.between)):
            return [f"the pages say {_short(extra)} before: {_short(piece.text)}"]
        at = start + len(wanted)
    extra = _unexpected(body[at:], "")
    return [f"the pages say {_short(extra)} after the end of the report"] if extra else []


def _after_contents(body: str, wanted: str, at: int) -> int:
    """The heading also stands in the contents: its second place is meant."""
    first = body.find(wanted, at)
    return max(first, body.find(wanted, first + 1))


def _unexpected(gap: str, between: str) -> str:
    left = gap.replace(between, "") if between else gap
    for word in FIXED:
        left = left.replace(compact(word), "")
    return "".join(c for c in left if c not in SIGNS)


def _short(text: str) -> str:
    said = re.sub(r"\s+", " ", text)
    return f"“{said}”" if len(said) <= 120 else f"“{said[:120]}…”"
