"""Text of runs and models, made fit to print: every string of a report passes `clean`."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

COVERAGE = Path(__file__).parent / "fonts" / "coverage.txt"
MARK = "◊"
"""Stands before the number of a claim; in all other text it is written as its code, so that no name and no
token can pass for a reference to the ledger."""
LONGEST = 2000
"""Characters after which a string is cut, and says so."""
STACKED = 2
"""Combining marks that one letter may carry; more would run over the lines beside it."""
COMBINING = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")


def clean(text: str, longest: int = LONGEST) -> str:
    """The text with every character that cannot be shown, or that steers what stands beside it, as U+XXXX.

    That is: control and format characters (direction overrides and zero-width ones among them), line breaks,
    lone surrogates, characters without a glyph in the shipped fonts, and the mark of the ledger.
    """
    said = text if len(text) <= longest else f"{text[:longest]}… [cut: {len(text):,} characters in all]"
    said = _unfit().sub(lambda found: f"U+{ord(found[0]):04X}", said)
    return COMBINING.sub(_unstacked, said)


@cache
def covered() -> frozenset[int]:
    """Code points that the shipped fonts can draw and that only draw."""
    found: set[int] = set()
    for line in COVERAGE.read_text(encoding="ascii").split():
        first, last = (int(end, 16) for end in line.split("-"))
        found.update(range(first, last + 1))
    return frozenset(code for code in found if _draws(chr(code)))


def _draws(character: str) -> bool:
    return character == " " or (character != MARK and unicodedata.category(character)[0] not in "CZ")


@cache
def _unfit() -> re.Pattern[str]:
    """Matches one character that `covered` does not hold."""
    codes = sorted(covered())
    starts = [c for i, c in enumerate(codes) if i == 0 or codes[i - 1] != c - 1]
    ends = [c for i, c in enumerate(codes) if i + 1 == len(codes) or codes[i + 1] != c + 1]
    spans = (f"\\U{first:08x}-\\U{last:08x}" for first, last in zip(starts, ends, strict=True))
    return re.compile(f"[^{''.join(spans)}]")


def _unstacked(found: re.Match[str]) -> str:
    marks = found[0]
    return marks[:STACKED] + "".join(f"U+{ord(mark):04X}" for mark in marks[STACKED:])
