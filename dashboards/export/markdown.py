"""The little Markdown that the dashboard itself writes, as spans of text: a template escapes each of them."""

from __future__ import annotations

import re
from typing import NamedTuple

TOKENS = re.compile(
    r"\\(?P<escaped>.)|(?P<bold>\*\*)|:(?P<colour>[a-z]+)-badge\[(?P<badge>[^\]]*)\]|:material/[a-z_]+:",
    re.DOTALL,
)


class Span(NamedTuple):
    """A run of text in one style."""

    text: str
    style: str
    """plain, bold or badge."""
    colour: str = ""
    """Of a badge."""


def spans(markdown: str) -> list[Span]:
    """Text with escapes undone, bold and badges told apart; everything else is plain text."""
    found: list[Span] = []
    text, bold, end = "", False, 0

    def flush() -> None:
        nonlocal text
        if text:
            found.append(Span(text, "bold" if bold else "plain"))
        text = ""

    for match in TOKENS.finditer(markdown):
        text += markdown[end : match.start()]
        end = match.end()
        if match["escaped"] is not None:
            text += match["escaped"]
        elif match["bold"]:
            flush()
            bold = not bold
        elif match["badge"] is not None:
            flush()
            found.append(Span(match["badge"], "badge", match["colour"]))
    text += markdown[end:]
    flush()
    return found
