"""A probed text: latents by tokens, and one latent on the running text, once per model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.charts.marks import empty
from dashboards.text import plotly_text

SIDES = ("base", "tuned")
PER_LINE = 14
"""Tokens on one line of the running text."""
SCALES = {"base": "Blues", "tuned": "Oranges"}


def overview(tokens: list[str], frame: pd.DataFrame) -> go.Figure:
    """Latents by tokens, the base above the tuned model, one scale of colour for both.

    Args:
        tokens: the text.
        frame: one row per latent: `latent`, `base` and `tuned`, lists as long as the text.
    """
    if frame.empty:
        return empty("no latent is active on this text")
    top = max(1e-9, *(max(values) for side in SIDES for values in frame[side]))
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08, subplot_titles=SIDES)
    hover = np.tile(np.array([token_text(t) for t in tokens], dtype=object), (len(frame), 1))
    for row, side in enumerate(SIDES, start=1):
        figure.add_trace(
            go.Heatmap(
                z=np.array(frame[side].tolist()), y=[f"{n}" for n in frame["latent"]], customdata=hover,
                zmin=0, zmax=top, colorscale="Viridis", showscale=row == 1, xgap=1, ygap=1,
                colorbar={"thickness": 12, "title": {"text": ""}},
                hovertemplate=f"{side}, latent %{{y}}, %{{customdata}} (%{{x}}): %{{z:.3f}}<extra></extra>",
            ), row, 1,
        )  # fmt: skip
    figure.update_yaxes(type="category", autorange="reversed", title="latent")
    few = len(tokens) <= 48
    ticks = list(range(len(tokens))) if few else list(range(0, len(tokens), -(-len(tokens) // 24)))
    figure.update_xaxes(
        tickvals=ticks, ticktext=[token_text(tokens[i]) for i in ticks] if few else ticks, tickangle=-60
    )
    return figure


def running(tokens: list[str], base: list[float], tuned: list[float]) -> go.Figure:
    """The text as it runs, each line once per model, tokens shaded by one latent's activation.

    Args:
        tokens: the text.
        base: activation per token in the base.
        tuned: the same in the tuned model.
    """
    lines = -(-len(tokens) // PER_LINE)
    top = max(1e-9, *base, *tuned)
    figure = make_subplots(1, 2, horizontal_spacing=0.03, subplot_titles=SIDES)
    for column, (side, values) in enumerate(zip(SIDES, (base, tuned), strict=True), start=1):
        figure.add_trace(
            go.Heatmap(
                z=_folded(values, np.nan), text=_folded([token_text(t) for t in tokens], ""),
                texttemplate="%{text}", zmin=0, zmax=top, colorscale=SCALES[side], showscale=False,
                hovertemplate=f"{side}: %{{z:.3f}}<extra></extra>", xgap=1, ygap=3,
            ), 1, column,
        )  # fmt: skip
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, autorange="reversed", range=[lines - 0.5, -0.5])
    return figure


def token_text(token: str) -> str:
    """A token as an axis or a cell shows it: spaces visible at its ends, short."""
    shown = token.replace("\n", "⏎").replace("\t", "⇥")
    return plotly_text(shown if shown.strip() else shown.replace(" ", "␣"), 24)


def _folded(values: list[float] | list[str], filler: float | str) -> np.ndarray[Any, Any]:
    """A list as lines of `PER_LINE`, the last one filled up."""
    missing = -len(values) % PER_LINE
    kind = float if isinstance(filler, float) else object
    return np.array([*values, *[filler] * missing], dtype=kind).reshape(-1, PER_LINE)
