"""Dose curve of a training attack, arm by arm; doses below 0 are realignment after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.figures.style import SERIES, SHAPES, canvas, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLUMNS = ("dose", "arm", "seed", "measure", "value")
MOST = 4


def draw(doses: pd.DataFrame) -> Figure:
    """One panel per measure: seeds as marks, their mean as a line."""
    measures = sorted(doses["measure"].astype(str).unique())[:MOST]
    figure, grid = canvas(1, len(measures), height=2.5, squeeze=False)
    for axes, measure in zip(grid[0], measures, strict=True):
        frame = doses[doses["measure"] == measure]
        for (arm, found), colour, shape in zip(
            frame.groupby("arm", observed=True), SERIES, SHAPES, strict=False
        ):
            means = found.groupby("dose")["value"].mean()
            axes.plot(found["dose"], found["value"], shape, color=colour, markersize=2.6, alpha=0.5)
            axes.plot(
                means.index, means, color=colour, marker=shape, markersize=3.6, label=short(str(arm), 20)
            )
        axes.set(title=short(measure, 30), xlabel="optimiser steps")
        axes.legend(loc="best")
    return figure
