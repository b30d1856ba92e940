"""Dose-response of the interventions beside their matched controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.figures.style import NULL, SERIES, SHAPES, canvas, short, zero_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("behaviour", "split", "intervention", "set", "size", "dose", "recovered", "low", "high", "is_null")
MOST_PANELS = 6


def panels(doses: pd.DataFrame, behaviour: str) -> list[tuple[str, pd.DataFrame]]:
    """Held-out rows of each intervention that has any, the most telling first: largest share recovered."""
    held = doses[(doses["behaviour"] == behaviour) & (doses["split"] == "test")].dropna(subset=["recovered"])
    found = [(str(name), frame) for name, frame in held.groupby("intervention", observed=True) if len(frame)]
    real = {name: frame.loc[~frame["is_null"].astype(bool), "recovered"].max() for name, frame in found}
    return sorted(found, key=lambda pair: (-np.nan_to_num(real[pair[0]], nan=-9.0), pair[0]))[:MOST_PANELS]


def draw(shown: list[tuple[str, pd.DataFrame]]) -> Figure:
    """One panel per intervention; controls are grey diamonds, drawn first."""
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, grid = canvas(rows, columns, height=2.2 * rows, squeeze=False, sharey=True)
    for axes, (name, frame) in zip(grid.flat, shown, strict=False):
        _panel(axes, name, frame)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("recovered share R")
    return figure


def _panel(axes: Axes, name: str, frame: pd.DataFrame) -> None:
    null = frame["is_null"].astype(bool)
    zero_line(axes)
    axes.plot(frame.loc[null, "dose"], frame.loc[null, "recovered"], "D", color=NULL, markersize=3, alpha=0.7)
    sets = frame[~null].groupby("set", observed=True)
    for (_, found), colour, shape in zip(sets, SERIES, SHAPES, strict=False):
        ordered = found.sort_values("dose", kind="stable")
        value = ordered["recovered"].to_numpy(float)
        down = value - ordered["low"].fillna(ordered["recovered"]).to_numpy(float)
        up = ordered["high"].fillna(ordered["recovered"]).to_numpy(float) - value
        axes.errorbar(
            ordered["dose"], value, yerr=np.vstack([down, up]).clip(0), color=colour, marker=shape,
            markersize=3.5, linewidth=1.0, elinewidth=0.8,
        )  # fmt: skip
    axes.set(title=short(name, 24), xlabel="dose")
