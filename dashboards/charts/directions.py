"""Is the knowledge still there: probes, directions and their norms by layer; asking again, arm by arm."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboards.charts.marks import band, empty, interval, interval_text, names, reference
from dashboards.theme import ACCENT, BASE, NULL, TUNED

PROBES = {
    "auc_base": ("base, own probe", BASE, "solid", "circle"),
    "auc_tuned": ("tuned, own probe", TUNED, "solid", "circle"),
    "auc_transfer_bt": ("base's probe on tuned", TUNED, "dash", "triangle-up"),
    "auc_transfer_tb": ("tuned's probe on base", BASE, "dash", "triangle-down"),
    "auc_mlp_base": ("base, MLP", BASE, "dot", "square"),
    "auc_mlp": ("tuned, MLP", TUNED, "dot", "square"),
}
"""Column of the table `directions`: name, colour, dash, symbol."""
EMBEDDINGS = "words"
"""Tick of layer -1: the mean of the token embeddings alone."""


def auc(frame: pd.DataFrame) -> go.Figure:
    """AUC of every probe by layer against the null's 95 % quantile.

    Args:
        frame: rows of the table `directions` of one concept and position.
    """
    if frame.empty:
        return empty("no layer was probed")
    part = frame.sort_values("layer")
    figure = go.Figure(band(part["layer"].tolist(), [0.0] * len(part), part["null_high"].tolist(), NULL))
    figure.add_scatter(
        x=part["layer"], y=part["null_high"], mode="lines", name="95 % of shuffled classes",
        line={"color": NULL, "width": 1}, hovertemplate="null: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    for column, (label, colour, dash, symbol) in PROBES.items():
        bars = (f"{column}_low", f"{column}_high")
        whole = set(bars) <= set(part.columns)
        figure.add_scatter(
            x=part["layer"], y=part[column], mode="lines+markers", name=label,
            line={"color": colour, "dash": dash, "width": 2 if dash == "solid" else 1.3},
            marker={"symbol": symbol, "size": 8, "color": colour},
            error_y=interval(part[column], part[bars[0]], part[bars[1]], color=colour) if whole else None,
            hovertemplate=f"{label}, layer %{{x}}: %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    reference(figure, y=0.5, text="chance")
    figure.update_yaxes(title="AUC on held-out entities", range=[0, 1.03])
    return _by_layer(figure, part)


def cosine(frame: pd.DataFrame) -> go.Figure:
    """Cosine of the two directions against what equal directions would reach; only where measurable.

    Args:
        frame: rows of the table `directions` of one concept and position.
    """
    part = frame.sort_values("layer")
    known = part[part["measurable"] & part["cosine_corrected"].notna()]
    figure = go.Figure()
    figure.add_scatter(
        x=part["layer"], y=part["cosine_ceiling"], mode="lines+markers", name="split-half ceiling",
        line={"color": NULL, "dash": "dot"}, marker={"size": 6, "color": NULL},
        hovertemplate="ceiling, layer %{x}: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    sure = part[part["measurable"]]
    figure.add_scatter(
        x=sure["layer"], y=sure["cosine"], mode="lines+markers", name="cosine, same entities",
        line={"color": BASE}, marker={"color": BASE, "size": 8},
        error_y=interval(sure["cosine"], sure["cosine_low"], sure["cosine_high"], color=BASE),
        hovertemplate="cosine, layer %{x}: %{y:.4f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=known["layer"], y=known["cosine_corrected"], mode="markers", name="across halves, over its ceiling",
        marker={"color": ACCENT, "symbol": "diamond", "size": 9},
        hovertemplate="corrected, layer %{x}: %{y:.4f}<extra></extra>",
    )  # fmt: skip
    _not_measurable(figure, part)
    reference(figure, y=1.0, text="equal directions")
    figure.update_yaxes(title="cosine of base and tuned direction", rangemode="tozero")
    return _by_layer(figure, part)


def norm_ratio(frame: pd.DataFrame) -> go.Figure:
    """Norm of the tuned direction over the base's, and the variance inside classes likewise.

    Args:
        frame: rows of the table `directions` of one concept and position.
    """
    part = frame.sort_values("layer")
    known = part.dropna(subset=["norm_ratio"])
    if known.empty:
        return empty("the norms were not measurable")
    figure = go.Figure()
    figure.add_scatter(
        x=known["layer"], y=known["norm_ratio"], mode="lines+markers", name="norm ratio",
        line={"color": TUNED}, marker={"color": TUNED, "size": 8},
        error_y=interval(known["norm_ratio"], known["norm_ratio_low"], known["norm_ratio_high"], color=TUNED),
        hovertemplate="norm ratio, layer %{x}: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    for column, label, symbol, colour in (
        ("norm_ratio_corrected", "noise cancelled", "diamond", ACCENT),
        ("variance_ratio", "variance inside classes", "square-open", NULL),
    ):
        some = part.dropna(subset=[column])
        figure.add_scatter(
            x=some["layer"], y=some[column], mode="markers", name=label,
            marker={"color": colour, "symbol": symbol, "size": 8},
            hovertemplate=f"{label}, layer %{{x}}: %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    reference(figure, y=1.0, text="as in the base")
    figure.update_yaxes(title="tuned over base", rangemode="tozero")
    return _by_layer(figure, part)


def arms(frame: pd.DataFrame) -> go.Figure:
    """Every way of asking again: what it gives back, and what goes beyond its effect on the base.

    Args:
        frame: rows of the table `elicitation` of one suite, with a column `way`.
    """
    if frame.empty:
        return empty("no other way of asking was tried")
    figure = go.Figure()
    for column, label, colour, symbol in (
        ("recovered", "recovered share", TUNED, "circle"),
        ("beyond_base", "beyond what it does to the base", ACCENT, "diamond"),
    ):
        part = frame.dropna(subset=[column])
        marks = [f"{symbol}-open" if control else symbol for control in part["is_control"]]
        ends = part[f"{column}_low"], part[f"{column}_high"]
        figure.add_scatter(
            x=part[column], y=names(part["way"]), mode="markers", name=label,
            marker={"color": colour, "symbol": marks, "size": 10},
            error_x=interval(part[column], *ends, color=colour),
            text=[interval_text(*row) for row in zip(part[column], *ends, strict=True)],
            hovertemplate="%{y}<br>%{text}<extra></extra>",
        )  # fmt: skip
    reference(figure, x=0.0, text="tuned model")
    reference(figure, x=0.5, text="half")
    reference(figure, x=1.0, text="base")
    figure.update_yaxes(categoryorder="array", categoryarray=names(frame["way"])[::-1])
    figure.update_xaxes(title="share of what was lost; open marks ask for nothing")
    return figure


def _by_layer(figure: go.Figure, part: pd.DataFrame) -> go.Figure:
    layers = sorted(set(part["layer"]))
    step = max(1, len(layers) // 24)
    ticks = [layer for place, layer in enumerate(layers) if layer < 0 or place % step == 0]
    figure.update_xaxes(
        title="block whose output is read", tickvals=ticks,
        ticktext=[EMBEDDINGS if layer < 0 else str(layer) for layer in ticks],
    )  # fmt: skip
    return figure


def _not_measurable(figure: go.Figure, part: pd.DataFrame) -> None:
    unsure = part[~part["measurable"]]
    if len(unsure):
        figure.add_scatter(
            x=unsure["layer"], y=[0.0] * len(unsure), mode="markers", name="not measurable",
            marker={"symbol": "x-thin-open", "size": 10, "color": NULL, "line": {"width": 2}},
            hovertemplate="layer %{x}: not measurable, the directions are not reliable<extra></extra>",
        )  # fmt: skip
