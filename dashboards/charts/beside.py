"""Chart of two runs beside each other: their claims with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from audit.evidence.schema.documents import Claim
from dashboards import theme
from dashboards.text import plotly_text

Pair = tuple[Claim, Claim]


def claims_figure(pairs: Sequence[Pair], names: tuple[str, str]) -> go.Figure:
    """Values of the same claims in two runs, with intervals.

    Args:
        pairs: claims with numbers, left and right.
        names: of the runs.
    """
    figure = go.Figure()
    for side, colour, symbol in ((0, theme.ACCENT, "circle"), (1, theme.KINDS["unsure"], "diamond")):
        found = [(pair[side], value) for pair in pairs if isinstance(value := pair[side].value, float)]
        figure.add_trace(
            go.Scatter(
                x=[value for _, value in found],
                y=[plotly_text(claim.id, 60) for claim, _ in found],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [0 if c.high is None else c.high - value for c, value in found],
                    "arrayminus": [0 if c.low is None else value - c.low for c, value in found],
                },
                mode="markers",
                name=plotly_text(names[side], 40),
                marker={"color": colour, "symbol": symbol, "size": 9},
            )
        )
    figure.update_yaxes(autorange="reversed")
    return figure
