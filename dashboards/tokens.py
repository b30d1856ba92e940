"""Coloured tokens: the same text twice, once per model, as HTML that only `token_strip` makes.

It is the one place of the dashboard where text of a model meets HTML. Everything that comes from a run is
escaped here, and numbers are formatted; nothing else is put into the string.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dashboards.text import one_line
from dashboards.theme import BASE, TUNED

LONGEST = 60
"""Characters of one token."""
PLAIN = "display:inline-block;border-radius:3px;unicode-bidi:isolate"
STRONGEST_TINT = 0.62
"""Opacity of the strongest activation; letters stay readable on it, light and dark."""


def token_strip(
    tokens: Sequence[str], base: Sequence[float], tuned: Sequence[float], chosen: int, top: float
) -> str:
    """HTML of a window of text, coloured by the activation in each model.

    Args:
        tokens: as text; escaped here.
        base: activation per token in the base; missing ones count as 0.
        tuned: the same in the tuned model.
        chosen: index of the token that the window is about, underlined.
        top: activation that gets the strongest colour.
    """
    rows = "".join(
        _row(name, tokens, values, colour, chosen, top)
        for name, values, colour in (("base", base, BASE), ("tuned", tuned, TUNED))
    )
    return f'<div style="line-height:1.9;font-size:0.9rem">{rows}</div>'


def _row(
    name: str, tokens: Sequence[str], values: Sequence[float], colour: str, chosen: int, top: float
) -> str:
    padded = [*values, *[0.0] * len(tokens)]
    cells = "".join(
        _cell(token, padded[place], colour, top, place == chosen) for place, token in enumerate(tokens)
    )
    head = f'<span style="flex:0 0 3.6em;opacity:0.7">{name}</span>'
    return f'<div style="display:flex">{head}<span>{cells}</span></div>'


def _cell(token: str, value: float, colour: str, top: float, chosen: bool) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    share = min(max(value / top, 0.0), 1.0) if top > 0 and value == value else 0.0
    shown = escape(one_line(token, LONGEST), quote=True).replace(" ", "&nbsp;") or "&nbsp;"
    tint = f"background:rgba({red},{green},{blue},{share * STRONGEST_TINT:.2f})" if share else ""
    line = "border-bottom:2px solid currentColor" if chosen else ""
    style = ";".join(part for part in (PLAIN, tint, line) if part)
    return f'<span title="{value:.4g}" style="{style}">{shown}</span>'
