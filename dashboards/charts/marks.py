"""Marks that several charts share: intervals, bands, reference lines, texts that plotly may read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.text import plotly_text
from dashboards.theme import BASE, FLOOR, TUNED

INKS = (BASE, TUNED, "#3aa6a0", "#c69214", "#b5479b", FLOOR)
"""Colours of lines that are neither of the two models'."""
WORD = 60
"""Longest name on an axis or in a legend."""


def names(values: Iterable[Any]) -> list[str]:
    """Texts of a run as plotly may show them; of a long one its two ends, which tell it apart."""
    return [plotly_text(_short(str(value)), WORD) for value in values]


def interval(
    value: pd.Series[Any], low: pd.Series[Any], high: pd.Series[Any], **style: Any
) -> dict[str, Any]:
    """Error bars of values with their intervals; an unbounded end has none."""
    numbers = [pd.to_numeric(column, errors="coerce").to_numpy(float) for column in (value, low, high)]
    middle, under, over = numbers
    up, down = (np.where(np.isfinite(x), np.clip(x, 0, None), 0.0) for x in (over - middle, middle - under))
    return {
        "type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.2, "width": 3,
        **style,
    }  # fmt: skip


def interval_text(value: float | None, low: float | None, high: float | None, form: str = ".3g") -> str:
    """`value [low, high]` for a hover box; 'not measured' for no value, infinite for an unbounded end."""
    if value is None or value != value:
        return "not measured"
    ends = (
        ("-inf" if low is None or low != low else format(low, form)),
        ("inf" if high is None or high != high else format(high, form)),
    )
    return f"{format(value, form)} [{ends[0]}, {ends[1]}]"


def band(
    x: Sequence[Any], low: Sequence[Any], high: Sequence[Any], colour: str, **place: Any
) -> list[go.Scatter]:
    """A shaded interval along a line: two invisible traces, the upper filled down to the lower."""
    quiet: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    fill = {"fill": "tonexty", "fillcolor": faint(colour, 0.16)}
    return [go.Scatter(x=x, y=low, **quiet, **place), go.Scatter(x=x, y=high, **fill, **quiet, **place)]


def faint(colour: str, opacity: float) -> str:
    """A colour `#rrggbb` with an opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def reference(
    figure: go.Figure, *, x: float | None = None, y: float | None = None, text: str = "", **place: Any
) -> None:
    """A dotted line at a value that means something, with its meaning beside it."""
    style: dict[str, Any] = {"line": {"color": FLOOR, "width": 1, "dash": "dot"}, "layer": "below"}
    note: dict[str, Any] = {
        "annotation_text": plotly_text(text),
        "annotation_font": {"size": 11, "color": FLOOR},
    }
    if y is not None:
        figure.add_hline(y, annotation_position="top left", **style, **note, **place)
    if x is not None:
        inside = {"annotation_position": "top right", "annotation_yshift": -14}
        figure.add_vline(x, **inside, **style, **note, **place)


def empty(reason: str) -> go.Figure:
    """A figure that says why there is nothing to draw."""
    figure = go.Figure()
    figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
    place: dict[str, Any] = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
    figure.add_annotation(text=plotly_text(reason), showarrow=False, **place)
    return figure


def _short(text: str) -> str:
    half = (WORD - 2) // 2
    return text if len(text) <= WORD else f"{text[:half]}…{text[-half:]}"
