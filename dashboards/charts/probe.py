"""A probed text: latents by tokens, once per model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.charts.marks import empty
from dashboards.text import plotly_text

SIDES = ("base", "tuned")


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


def token_text(token: str) -> str:
    """A token as an axis or a cell shows it: spaces visible at its ends, short."""
    shown = token.replace("\n", "⏎").replace("\t", "⇥")
    return plotly_text(shown if shown.strip() else shown.replace(" ", "␣"), 24)
