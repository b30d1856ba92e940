"""The record as a picture: the confusion matrix, and the reliability diagram of the stated confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from audit.evidence.schema.results import SelftestResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS = ("UNCHANGED", "MASKED", "LATENT", "ERASED", "INDUCED", "INCONCLUSIVE")
INK = "#2f6db3"


def draw_record(result: SelftestResult) -> Figure:
    """Left: planted truth against verdict; right: stated confidence against how often it was right."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(8.6, 3.8))
        left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
        _matrix(left, result)
        _reliability(right, result)
        figure.subplots_adjust(left=0.12, right=0.98, bottom=0.28, top=0.9, wspace=0.3)
    return figure


def _matrix(axes: Axes, result: SelftestResult) -> None:
    truths = [word for word in WORDS if word in result.matrix]
    counts = np.array([[result.matrix[truth].get(word, 0) for word in WORDS] for truth in truths])
    shares = counts / counts.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, str(count) if count else "", ha="center", va="center")
    axes.set_xticks(range(len(WORDS)), WORDS, rotation=40, ha="right")
    axes.set_yticks(range(len(truths)), truths)
    axes.set(title="planted truth (rows) against verdict", xlabel="", ylabel="")


def _reliability(axes: Axes, result: SelftestResult) -> None:
    axes.set(title="is the stated confidence kept?", xlabel="stated confidence", ylabel="share right")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.plot([0, 1], [0, 1], ":", color="#7a7a7a", linewidth=1)
    axes.spines[["top", "right"]].set_visible(False)
    if not result.reliability:
        axes.text(0.98, 0.1, "confidence is not calibrated", ha="right", va="center")
        return
    for one in result.reliability:
        axes.plot([one.stated, one.stated], [one.low, one.high], color=INK, linewidth=1)
        axes.plot(one.stated, one.right, "o", color=INK, markersize=4)
        axes.annotate(f"n {one.n}", (one.stated, one.right), xytext=(-4, -10), textcoords="offset points",
                      ha="right")  # fmt: skip
