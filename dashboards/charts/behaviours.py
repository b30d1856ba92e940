"""Behaviour item by item and template by template, base beside tuned."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboards.charts.marks import empty, interval, interval_text, names, reference
from dashboards.theme import ACCENT, BASE, NULL, TUNED


def items(frame: pd.DataFrame, null_level: float) -> go.Figure:
    """Score m of every item, base against tuned; a flip crosses one of the lines at 0.

    Args:
        frame: columns `name`, `m_base`, `m_tuned`, `flip` (empty: none).
        null_level: where a score says nothing.
    """
    if frame.empty:
        return empty("no item that fits was scored in both models")
    figure = go.Figure()
    both = frame[["m_base", "m_tuned"]]
    ends = [float(both.min().min()), float(both.max().max())]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": NULL, "dash": "dot"}, name="unchanged", hoverinfo="skip"
    )
    for flipped, label, colour, size in ((False, "same side", NULL, 7), (True, "flipped", ACCENT, 9)):
        part = frame[(frame["flip"] != "") == flipped]
        figure.add_scattergl(
            x=part["m_base"], y=part["m_tuned"], mode="markers", name=label,
            text=names(part["name"]), marker={"color": colour, "size": size, "opacity": 0.75},
            hovertemplate="%{text}<br>base %{x:.3f}, tuned %{y:.3f} nats<extra></extra>",
        )  # fmt: skip
    reference(figure, x=0.0)
    reference(figure, y=0.0)
    if null_level:
        reference(figure, y=null_level, text="null")
    figure.update_xaxes(title="m in the base, nats")
    figure.update_yaxes(title="m in the tuned model, nats")
    return figure


def forest(frame: pd.DataFrame, null_level: float) -> go.Figure:
    """Effects b of base and tuned under every template, with intervals.

    Args:
        frame: columns `form`, and `base`, `tuned` each with `_low` and `_high`.
        null_level: b that says nothing.
    """
    if frame.empty:
        return empty("no template was scored")
    figure = go.Figure()
    for side, colour, symbol in (("base", BASE, "circle"), ("tuned", TUNED, "diamond")):
        ends = frame[f"{side}_low"], frame[f"{side}_high"]
        figure.add_scatter(
            x=frame[side], y=names(frame["form"]), mode="markers", name=side,
            marker={"color": colour, "symbol": symbol, "size": 10},
            error_x=interval(frame[side], *ends, color=colour),
            text=[interval_text(*row) for row in zip(frame[side], *ends, strict=True)],
            hovertemplate=f"{side}, %{{y}}: %{{text}}<extra></extra>",
        )  # fmt: skip
    reference(figure, x=null_level, text="null")
    figure.update_yaxes(categoryorder="array", categoryarray=names(frame["form"])[::-1])
    figure.update_xaxes(title="effect b")
    return figure


def changes(frame: pd.DataFrame, half_width: float) -> go.Figure:
    """Changes b_tuned - b_base under every template over the equivalence band.

    Args:
        frame: columns `form`, `change`, `change_low`, `change_high`.
        half_width: of the card's equivalence band.
    """
    if frame.empty:
        return empty("no template was scored")
    figure = go.Figure()
    figure.add_vrect(
        -half_width, half_width, fillcolor="rgba(58,166,160,0.16)", line={"width": 0}, layer="below"
    )
    ends = frame["change_low"], frame["change_high"]
    figure.add_scatter(
        x=frame["change"], y=names(frame["form"]), mode="markers", name="change",
        marker={"color": ACCENT, "size": 10}, error_x=interval(frame["change"], *ends, color=ACCENT),
        text=[interval_text(*row) for row in zip(frame["change"], *ends, strict=True)],
        hovertemplate="%{y}: %{text}<extra></extra>", showlegend=False,
    )  # fmt: skip
    reference(figure, x=0.0)
    figure.update_yaxes(categoryorder="array", categoryarray=names(frame["form"])[::-1])
    figure.update_xaxes(title="change of b; the shade is the equivalence band")
    return figure
