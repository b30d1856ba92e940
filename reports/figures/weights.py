"""Relative change of the weights by depth and kind of module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.figures.style import SERIES, SHAPES, canvas, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLUMNS = ("kind", "layer", "base_norm", "change_norm")


def by_layer(weights: pd.DataFrame) -> pd.DataFrame:
    """Columns kind, layer, relative: norm of the change over the base's, tensors of a block together."""
    inside = weights.dropna(subset=["layer"])
    squares = inside.assign(change=inside["change_norm"] ** 2, norm=inside["base_norm"] ** 2)
    summed = squares.groupby(["kind", "layer"], observed=True)[["change", "norm"]].sum().reset_index()
    summed = summed[summed["norm"] > 0]
    return summed.assign(relative=(summed["change"] / summed["norm"]) ** 0.5)[["kind", "layer", "relative"]]


def draw(layers: pd.DataFrame) -> Figure:
    """One line per kind of module."""
    figure, axes = canvas(height=2.3)
    for (kind, frame), colour, shape in zip(
        layers.groupby("kind", observed=True), SERIES, SHAPES, strict=False
    ):
        axes.plot(
            frame["layer"],
            frame["relative"],
            color=colour,
            marker=shape,
            markersize=3.2,
            label=short(str(kind)),
        )
    axes.set(xlabel="block", ylabel="relative change", ylim=(0, None))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
