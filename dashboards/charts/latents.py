"""Charts of latents: the map of all, and the paired charts of one card."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards import theme
from dashboards.latents import Axis
from dashboards.text import plotly_text

ORDER = tuple(theme.KINDS)
BINS = 30
SMALL, LARGE = 5, 3
"""Marker sizes for few points and for many."""
MANY = 5000


def map_figure(
    points: pd.DataFrame, x: Axis, y: Axis, null_x: float | None = None, null_y: float | None = None
) -> go.Figure:
    """Scatter of latents on WebGL, coloured by kind; carries numbers only: 4 bytes each, no labels.

    Args:
        points: of `dashboards.latents.points`; the selection of the chart counts its rows.
        x: first axis.
        y: second axis.
        null_x: where to draw a null's quantile on the first axis.
        null_y: the same on the second.
    """
    figure = go.Figure()
    code = points["kind"].to_numpy(np.uint8)
    figure.add_trace(
        go.Scattergl(
            x=points["x"].to_numpy(np.float32),
            y=points["y"].to_numpy(np.float32),
            customdata=points["latent"].to_numpy(np.int32),
            mode="markers",
            marker={
                "color": code,
                "colorscale": _steps(),
                "cmin": -0.5,
                "cmax": len(ORDER) - 0.5,
                "size": LARGE if len(points) > MANY else SMALL,
                "opacity": 0.7,
            },
            hovertemplate="latent %{customdata}<br>x %{x:.4g}<br>y %{y:.4g}<extra></extra>",
            showlegend=False,
        )
    )
    _legend(figure, {ORDER[place] for place in np.unique(code)})
    for bar, add in ((null_x, figure.add_vline), (null_y, figure.add_hline)):
        if bar is not None:
            line = {"color": theme.FLOOR, "dash": "dash", "width": 1.5}
            add(bar, line=line, annotation_text="95 % of benign fine-tunes' latents")
    figure.update_xaxes(title={"text": plotly_text(x.title)}, **_scale(x))
    figure.update_yaxes(title={"text": plotly_text(y.title)}, **_scale(y))
    figure.update_layout(dragmode="select")
    return figure


def _scale(axis: Axis) -> dict[str, object]:
    return {"type": "log", "dtick": 1, "tickformat": "~g", "exponentformat": "none"} if axis.log else {}


def _steps() -> list[list[float | str]]:
    """A colour scale of one flat step per kind."""
    count = len(ORDER)
    return [
        [end / count, theme.KINDS[kind]] for place, kind in enumerate(ORDER) for end in (place, place + 1)
    ]


def _legend(figure: go.Figure, present: set[str]) -> None:
    for kind in ORDER:
        if kind in present:
            marker = {"color": theme.KINDS[kind], "size": 9}
            figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=kind, marker=marker))


def map_alt(points: pd.DataFrame, x: Axis, y: Axis) -> str:
    """The map in words."""
    numbers = np.bincount(points["kind"].to_numpy(np.uint8), minlength=len(ORDER))
    counts = ", ".join(f"{n:,} {kind}" for kind, n in zip(ORDER, numbers, strict=True) if n)
    return f"{len(points):,} latents: {x.title} against {y.title}. {counts or 'none'}."


def rates_figure(rates: dict[str, tuple[float, float, float]]) -> go.Figure:
    """Firing rate of both models with intervals.

    Args:
        rates: value, low, high by model.
    """
    figure = go.Figure()
    for model, colour in (("tuned", theme.TUNED), ("base", theme.BASE)):
        value, low, high = rates[model]
        figure.add_trace(
            go.Scatter(
                x=[value], y=[model], mode="markers", name=model, showlegend=False,
                marker={"size": 11, "color": colour},
                error_x={"type": "data", "symmetric": False, "array": [high - value],
                         "arrayminus": [value - low]},
                hovertemplate="%{x:.4%}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(title={"text": "share of tokens on which it is active"}, tickformat=".3~%")
    figure.update_yaxes(range=[-0.7, 1.7])
    return figure


def activations_figure(base: np.ndarray, tuned: np.ndarray) -> go.Figure:
    """Histogram of activations above 0 of both models, on one axis, counts on a log scale."""
    both = np.concatenate([base[base > 0], tuned[tuned > 0]])
    edges = np.linspace(0, float(both.max()) if both.size else 1.0, BINS + 1)
    figure = go.Figure()
    for model, values, colour in (("base", base, theme.BASE), ("tuned", tuned, theme.TUNED)):
        counts, _ = np.histogram(values[values > 0], edges)
        figure.add_trace(
            go.Scatter(
                x=edges, y=np.append(counts, counts[-1]), name=model, line={"shape": "hv", "color": colour},
                hovertemplate="%{y} tokens from %{x:.3g}<extra>" + model + "</extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(title={"text": "activation"})
    figure.update_yaxes(title={"text": "tokens (log)"}, type="log", dtick=1)
    return figure


def effects_figure(effects: pd.DataFrame) -> go.Figure:
    """Effect of the latent's write on each behaviour, in both models.

    Args:
        effects: rows of the table `latent_effects` of one latent.
    """
    figure = go.Figure()
    names = [plotly_text(name) for name in effects["behaviour"]]
    for model, colour in (("base", theme.BASE), ("tuned", theme.TUNED)):
        figure.add_trace(
            go.Bar(y=names, x=effects[f"effect_{model}"], name=model, orientation="h", marker_color=colour,
                   hovertemplate="%{x:.4g}<extra>" + model + "</extra>")
        )  # fmt: skip
    figure.update_xaxes(title={"text": "what its write adds to the behaviour's score"})
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(barmode="group")
    return figure
