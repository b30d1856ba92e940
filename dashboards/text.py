"""Text of models and files made safe to show: control characters, length, Markdown, plotly's HTML subset."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 4000
MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~:$&@/])")
LINKED = re.compile(r"(?<=http)(?=s?://)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
"""Where an address is cut so that Markdown does not take it for a link."""
JOINER = "\u2060"
INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Cn"}
"""Unicode categories that show nothing or reorder what stands beside them: they print as U+XXXX."""
JOINERS = {"\u200c", "\u200d"}
"""Zero-width joiners shape words in several scripts, and harm nothing."""


def printable(text: object, most: int = LONGEST) -> str:
    """The text with control and direction characters spelled out, at most `most` characters long."""
    said = str(text)
    cut = said[:most]
    if said.isprintable() and cut == said:
        return said
    shown = "".join(c if _harmless(c) else f"<U+{ord(c):04X}>" for c in cut)
    return shown if len(said) <= most else f"{shown} (cut: {len(said):,} characters)"


def _harmless(character: str) -> bool:
    return character in "\n\t" or character in JOINERS or unicodedata.category(character) not in INVISIBLE


def one_line(text: object, most: int = 200) -> str:
    """`printable` on one line: newlines and tabs are spelled as arrows, so that tokens show what they are."""
    return printable(text, most).replace("\n", "⏎").replace("\t", "⇥")


def plain(text: object, most: int = 400) -> str:
    """The text with everything escaped that Markdown would read, for labels, captions and headings.

    No escape stops Markdown from linking a bare address: an invisible joiner does, inside of it.
    """
    return MARKDOWN.sub(r"\\\1", LINKED.sub(JOINER, one_line(text, most)))


def plotly_text(text: object, most: int = 200) -> str:
    """The text for titles, ticks and hover boxes of plotly, which reads a subset of HTML there."""
    return one_line(text, most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
