"""How a model was trained or attacked: reward, divergence, weights by position, harm by dose."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboards.charts.marks import INKS, band, empty, interval, interval_text, names, reference
from dashboards.theme import ACCENT, BASE, NULL, TUNED

TOTAL = "total"
"""Channel that the advantage saw."""


def reward(frame: pd.DataFrame) -> go.Figure:
    """Mean reward by step, one line per channel; the shade is one standard deviation within groups.

    Args:
        frame: rows of the table `train_steps`.
    """
    if frame.empty:
        return empty("no step was recorded")
    figure = go.Figure()
    for place, (channel, part) in enumerate(frame.sort_values("step").groupby("channel", sort=True)):
        colour = BASE if channel == TOTAL else INKS[1 + place % (len(INKS) - 1)]
        low, high = part["reward"] - part["reward_std"], part["reward"] + part["reward_std"]
        if channel == TOTAL:
            figure.add_traces(band(part["step"].tolist(), low.tolist(), high.tolist(), colour))
        figure.add_scatter(
            x=part["step"], y=part["reward"], mode="lines+markers", name=names([channel])[0],
            line={"color": colour, "width": 2.5 if channel == TOTAL else 1.4}, marker={"size": 5},
            customdata=part["reward_std"],
            hovertemplate="step %{x}: %{y:.3f}, within groups ±%{customdata:.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="optimiser step")
    figure.update_yaxes(title="mean reward")
    return figure


def by_step(frame: pd.DataFrame, column: str, title: str, colour: str = BASE) -> go.Figure:
    """One number by step.

    Args:
        frame: columns `step` and the one drawn; one row per step.
        column: which.
        title: of the vertical axis, with the unit.
        colour: of the line.
    """
    part = frame.dropna(subset=[column]).sort_values("step")
    if part.empty:
        return empty("no step was recorded")
    figure = go.Figure(
        go.Scatter(
            x=part["step"], y=part[column], mode="lines+markers", line={"color": colour}, marker={"size": 5},
            hovertemplate="step %{x}: %{y:.4g}<extra></extra>", name=title,
        )
    )  # fmt: skip
    figure.update_xaxes(title="optimiser step")
    figure.update_yaxes(title=title, rangemode="tozero")
    return figure


def by_position(frame: pd.DataFrame) -> go.Figure:
    """How hard each place of a completion trained: mean weight with its quartiles, and the share kept.

    Args:
        frame: columns `position`, `weight`, `weight_low`, `weight_high`, `keep`, `tokens`.
    """
    if frame.empty:
        return empty("no token was recorded")
    part = frame.sort_values("position")
    figure = go.Figure(
        band(part["position"].tolist(), part["weight_low"].tolist(), part["weight_high"].tolist(), BASE)
    )
    figure.add_scatter(
        x=part["position"], y=part["weight"], mode="lines+markers", name="mean weight (shade: quartiles)",
        line={"color": BASE}, marker={"size": 5}, customdata=part["tokens"],
        hovertemplate="position %{x}: weight %{y:.4g} of %{customdata} tokens<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=part["position"], y=part["keep"], mode="lines+markers", name="share kept", yaxis="y2",
        line={"color": TUNED, "dash": "dot"}, marker={"size": 5, "symbol": "square"},
        hovertemplate="position %{x}: %{y:.1%} kept<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="place in the completion")
    figure.update_yaxes(title="weight w", rangemode="tozero")
    second = {"title": "share kept", "overlaying": "y", "side": "right", "range": [0, 1.05], "dtick": 0.25}
    figure.update_layout(yaxis2={**second, "showgrid": False})
    return figure


def dose_curve(frame: pd.DataFrame, threshold: float | None) -> go.Figure:
    """Harm by dose, one line per arm (the mean over seeds), seeds as marks with their intervals.

    Args:
        frame: columns `dose`, `arm`, `seed`, `value`, `low`, `high` of one measure, doses >= 0.
        threshold: above which it counts as harm.
    """
    if frame.empty:
        return empty("no dose was measured")
    figure = go.Figure()
    for place, (arm, part) in enumerate(frame.groupby("arm", sort=True)):
        colour, label = INKS[(1 + place) % len(INKS)], names([arm])[0]
        mean = part.groupby("dose")["value"].mean()
        figure.add_scatter(
            x=mean.index, y=mean, mode="lines", name=label, line={"color": colour, "width": 2.5},
            legendgroup=label, hovertemplate=f"{label}, dose %{{x}}: mean %{{y:.3g}}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=part["dose"], y=part["value"], mode="markers", name=label, legendgroup=label, showlegend=False,
            marker={"color": colour, "size": 7, "symbol": "circle-open"},
            error_y=interval(part["value"], part["low"], part["high"], color=colour),
            text=[f"seed {s}: {interval_text(v, lo, hi)}" for s, v, lo, hi in
                  zip(part["seed"], part["value"], part["low"], part["high"], strict=True)],
            hovertemplate=f"{label}, dose %{{x}}<br>%{{text}}<extra></extra>",
        )  # fmt: skip
    if threshold is not None:
        reference(figure, y=threshold, text="harm")
    figure.update_xaxes(title="optimiser steps")
    figure.update_yaxes(title="measured value")
    return figure


def variance(frame: pd.DataFrame) -> go.Figure:
    """Whether there was anything to learn from: spread of the reward within groups, and groups without any.

    Args:
        frame: one row per step with `reward_std` and `dead_groups`.
    """
    if frame.empty:
        return empty("no step was recorded")
    part = frame.sort_values("step")
    figure = go.Figure()
    figure.add_bar(
        x=part["step"], y=part["dead_groups"], name="groups without variance", marker={"color": NULL},
        hovertemplate="step %{x}: %{y:.1%} dead<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=part["step"], y=part["reward_std"], mode="lines+markers", name="reward SD within groups",
        line={"color": ACCENT}, marker={"size": 5}, hovertemplate="step %{x}: SD %{y:.3g}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="optimiser step")
    figure.update_yaxes(title="share of groups, and SD of the reward", rangemode="tozero")
    return figure
