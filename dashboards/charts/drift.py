"""How far the model moved: KL along sampled sequences, single tokens, weights module by module."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.charts.marks import band, empty, interval_text, names, reference
from dashboards.theme import ACCENT, BASE, FLOOR, NULL, TUNED

Measure = Literal["relative_change", "change_norm", "stable_rank", "unchanged_share"]
MEASURES: dict[Measure, str] = {
    "relative_change": "change over the weight's own norm",
    "change_norm": "norm of the change",
    "stable_rank": "stable rank of the change",
    "unchanged_share": "share of unchanged weights",
}
LINES = {"outlier threshold (base)": BASE, "outlier threshold (tuned)": TUNED}
SMALLEST = 1e-8
"""KL below it is drawn there: a logarithm has no zero."""


def prefix_curve(curves: pd.DataFrame, floor: float) -> go.Figure:
    """Cumulative KL by number of sampled tokens, both directions, over the noise floor.

    Args:
        curves: columns `direction`, `step` (from 1), `value`, `low`, `high`.
        floor: upper end of what reloading the same model gives.
    """
    figure = go.Figure()
    for (direction, part), colour in zip(
        curves.groupby("direction", sort=False), (BASE, TUNED), strict=False
    ):
        figure.add_traces(band(part["step"].tolist(), part["low"].tolist(), part["high"].tolist(), colour))
        figure.add_scatter(
            x=part["step"], y=part["value"], mode="lines+markers", name=names([direction])[0],
            line={"color": colour}, marker={"size": 5, "color": colour},
            text=[interval_text(*row) for row in zip(part["value"], part["low"], part["high"], strict=True)],
            hovertemplate="%{x} tokens: %{text} nats<extra></extra>",
        )  # fmt: skip
    reference(figure, y=floor, text="noise floor: the same model reloaded")
    figure.update_xaxes(title="tokens sampled")
    figure.update_yaxes(title="cumulative KL, nats", rangemode="tozero")
    return figure


def tokens(frame: pd.DataFrame, thresholds: dict[str, float], largest_step: float) -> go.Figure:
    """KL of single next-token distributions by step; outliers ringed.

    Args:
        frame: columns `source`, `step`, `kl` and `outlier`, one row per token, of the source's direction.
        thresholds: outlier threshold by source.
        largest_step: largest step of the noise floor, nats.
    """
    if frame.empty:
        return empty("no token was scored")
    figure = go.Figure()
    for source, colour in (("base", BASE), ("tuned", TUNED)):
        part = frame[frame["source"] == source]
        shift = -0.14 if source == "base" else 0.14
        figure.add_scattergl(
            x=part["step"] + shift, y=part["kl"].clip(lower=SMALLEST), mode="markers",
            name=f"prefixes sampled from {source}",
            marker={"size": [10 if far else 5 for far in part["outlier"]], "color": colour,
                    "opacity": [1.0 if far else 0.35 for far in part["outlier"]]},
            hovertemplate="step %{x:.0f}: %{y:.4g} nats<extra></extra>",
        )  # fmt: skip
    lines = {f"outlier threshold ({source})": value for source, value in thresholds.items()}
    for label, value in {**lines, "largest step of the noise floor": max(largest_step, SMALLEST)}.items():
        figure.add_scatter(
            x=[frame["step"].min(), frame["step"].max()], y=[value, value], mode="lines", name=label,
            line={"color": LINES.get(label, NULL), "width": 1.2, "dash": "dot"}, hoverinfo="skip",
        )  # fmt: skip
    figure.update_xaxes(title="tokens sampled before")
    figure.update_yaxes(title="KL of the next token, nats", type="log", dtick=1, exponentformat="power")
    return figure


def weight_map(frame: pd.DataFrame, measure: Measure) -> go.Figure:
    """Layers x modules as squares that can be chosen, coloured by a measure of the change.

    Args:
        frame: columns `row` (the module's name inside its block), `layer` (-1: outside), `module` and the
            measure; null values are drawn hollow.
        measure: which column.
    """
    if frame.empty:
        return empty("no weight was compared")
    figure = go.Figure()
    known, unknown = frame[frame[measure].notna()], frame[frame[measure].isna()]
    if len(unknown):
        figure.add_scatter(**_squares(unknown, "not defined"), marker=_hollow())
    top = float(known[measure].max()) if len(known) else 1.0
    figure.add_scatter(
        **_squares(known, MEASURES[measure], [format(value, ".4g") for value in known[measure]]),
        marker={"symbol": "square", "size": 13, "color": known[measure], "colorscale": "Cividis", "cmin": 0,
                "cmax": top or 1.0, "colorbar": {"title": {"text": ""}, "thickness": 12}},
    )  # fmt: skip
    rows = list(dict.fromkeys(frame["row"]))
    figure.update_yaxes(categoryorder="array", categoryarray=names(rows)[::-1])
    figure.update_xaxes(title="block (-1: outside of blocks)")
    figure.update_layout(showlegend=False)
    return figure


def spectrum(values: list[float]) -> go.Figure:
    """The largest singular values of one module's change.

    Args:
        values: from the largest.
    """
    if not values:
        return empty("this tensor has no spectrum: unchanged, or a vector")
    figure = go.Figure(go.Bar(x=np.arange(1, len(values) + 1), y=values, marker={"color": ACCENT}))
    figure.update_traces(hovertemplate="number %{x}: %{y:.4g}<extra></extra>")
    figure.update_xaxes(title="singular value of the change", dtick=1)
    figure.update_yaxes(title="size", rangemode="tozero")
    return figure


def _squares(part: pd.DataFrame, label: str, values: list[str] | None = None) -> dict[str, object]:
    said = values or ["not defined"] * len(part)
    return {
        "x": part["layer"],
        "y": names(part["row"]),
        "mode": "markers",
        "name": label,
        "text": [f"{name}<br>{value}" for name, value in zip(names(part["module"]), said, strict=True)],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _hollow() -> dict[str, object]:
    return {"symbol": "square-open", "size": 11, "color": NULL, "line": {"color": FLOOR, "width": 1}}
