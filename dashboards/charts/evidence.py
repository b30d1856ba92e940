"""Charts of the overview: what brings a behaviour back, by whom."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dashboards import theme
from dashboards.ladder import BLACK_BOX, LOCATES, TRAINED, WHITE_BOX, Rung
from dashboards.text import plotly_text

COLOURS = {
    BLACK_BOX: theme.TUNED, WHITE_BOX: theme.ACCENT, LOCATES: theme.BASE, TRAINED: theme.FLOOR
}  # fmt: skip
SYMBOLS = {BLACK_BOX: "circle", WHITE_BOX: "diamond", LOCATES: "square", TRAINED: "triangle-up"}


def recovered_chart(rungs: Sequence[Rung]) -> go.Figure:
    """Share of the lost behaviour that each way brings back, with intervals and the largest control.

    Args:
        rungs: of one behaviour, those with a side; what was not measured keeps its empty row.
    """
    figure = go.Figure()
    for side in dict.fromkeys(rung.side for rung in rungs):
        found = [rung for rung in rungs if rung.side == side and rung.estimate]
        figure.add_trace(_points(side, found))
    nulls = [rung for rung in rungs if rung.null is not None]
    figure.add_trace(
        go.Scatter(
            x=[rung.null for rung in nulls],
            y=[plotly_text(rung.evidence) for rung in nulls],
            mode="markers",
            name="largest control",
            marker={"symbol": "line-ns-open", "size": 16, "color": theme.NULL, "line": {"width": 2}},
            hovertemplate="largest control %{x:.3f}<extra></extra>",
        )
    )
    figure.add_vline(x=0, line={"color": theme.FLOOR, "width": 1})
    figure.add_vline(x=1, line={"color": theme.FLOOR, "width": 1, "dash": "dot"})
    rows = [plotly_text(rung.evidence) for rung in reversed(rungs)]
    figure.update_yaxes(categoryorder="array", categoryarray=rows)
    figure.update_xaxes(title={"text": "share brought back"})
    return figure


def _points(side: str, rungs: Sequence[Rung]) -> go.Scatter:
    estimates = [rung.estimate for rung in rungs if rung.estimate]
    return go.Scatter(
        x=[e.value for e in estimates],
        y=[plotly_text(rung.evidence) for rung in rungs],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [0 if e.high is None else e.high - e.value for e in estimates],
            "arrayminus": [0 if e.low is None else e.value - e.low for e in estimates],
        },
        mode="markers",
        name=side,
        marker={"color": COLOURS[side], "symbol": SYMBOLS[side], "size": 10},
        text=[plotly_text(rung.said) for rung in rungs],
        hovertemplate="%{x:.3f}<br>%{text}<extra></extra>",
    )


def recovered_alt(rungs: Sequence[Rung]) -> str:
    """The chart in words."""
    said = [f"{rung.evidence} ({rung.side}) {rung.text}" for rung in rungs]
    return "Share of the change brought back. " + ". ".join(said)
