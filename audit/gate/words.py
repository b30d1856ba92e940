"""Text of runs and policies as the outcome's files may hold it: short, and without what steers a reader."""

from __future__ import annotations

import unicodedata

LONGEST, LONGEST_REASON = 400, 1_000
"""Characters of one piece of text, and of a reason; the rest is counted, not written."""
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def clean(text: str, longest: int = LONGEST) -> str:
    """One line of text: what does not print becomes U+XXXX, what is too long is cut.

    Control characters would break XML, and those of direction would let a name pose as another.
    """
    cut = text[:longest]
    shown = "".join(f"<U+{ord(c):04X}>" if unicodedata.category(c) in UNSEEN else c for c in cut)
    return shown if len(text) <= longest else f"{shown}... ({len(text):,} characters)"


def number(value: float | str | bool | None) -> str:
    """An observed value as people read it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:.4g}"


def interval(low: float | None, high: float | None) -> str:
    """` [low, high]`; an end that is not bounded is infinite; nothing where there is no interval."""
    if low is None and high is None:
        return ""
    ends = "-inf" if low is None else f"{low:.4g}", "inf" if high is None else f"{high:.4g}"
    return f" [{ends[0]}, {ends[1]}]"
