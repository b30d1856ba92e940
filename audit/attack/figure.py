"""The dose curves as a picture: the attack and its controls, then realignment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from audit.attack.measures import HARM, TRAINED
from audit.figures import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = (
    (TRAINED, "trained item:\nprobability of the biased answer"),
    (HARM, "held-out questions, same category:\nshare of the biased answer"),
    (f"{HARM}, trained letter", "held-out questions:\nshare of the trained letter"),
    ("other categories", "held-out questions, other categories:\nshare of the biased answer"),
    ("paired sentences", "paired sentences:\nshare with the stereotype likelier"),
    ("exact_kl", "KL(start || policy),\nnats per token"),
)
"""Measures that are drawn where they were measured, and what stands above them."""
COLOURS = ("#b3372f", "#2f6db3", "#7a7a7a", "#b08a2e", "#4f8f5b", "#7d4f9e", "#333333", "#c97b9b")
COLUMNS = 3


def write_figures(doses: pd.DataFrame, folder: Path) -> None:
    """Writes `dose_curves.png` and `dose_curves.svg`.

    Args:
        doses: the table `attack_doses`.
        folder: exists.
    """
    write_figure(draw(doses), folder, "dose_curves")


def draw(doses: pd.DataFrame) -> Figure:
    """One panel per measure; lines are means over seeds, dots are seeds, dashes are realignment after it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = [panel for panel in PANELS if (doses["measure"] == panel[0]).any()]
    rows = -(-len(panels) // COLUMNS)
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(3.3 * COLUMNS, 2.7 * rows + 0.4))
        for place, (measure, title) in enumerate(panels):
            axes = figure.add_subplot(rows, COLUMNS, place + 1)
            _panel(axes, doses[doses["measure"] == measure])
            axes.set_title(title, fontsize=8)
            axes.set_xlabel("optimiser steps")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
        # Fixed margins: a layout that is computed draws everything several times.
        low = 0.95 / (2.7 * rows + 0.4)
        figure.subplots_adjust(left=0.06, right=0.98, bottom=low, top=0.92, wspace=0.25, hspace=0.55)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    last = rows["dose"].max()
    for (arm, of_arm), colour in zip(rows.groupby("arm", sort=False), COLOURS, strict=False):
        attack, back = of_arm[of_arm["dose"] >= 0], of_arm[of_arm["dose"] < 0]
        mean = attack.groupby("dose")["value"].mean()
        axes.plot(mean.index, mean, color=colour, label=str(arm), linewidth=1.4)
        axes.plot(attack["dose"], attack["value"], "o", color=colour, markersize=2.4)
        if len(back):
            after = pd.concat(
                [mean.iloc[-1:], back.groupby("dose")["value"].mean().sort_index(ascending=False)]
            )
            steps = [last, *(last - dose for dose in after.index[1:])]
            axes.plot(steps, after, "--", color=colour, linewidth=1.1)
    axes.set_xscale("symlog", linthresh=2, base=10)
    axes.minorticks_off()
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
