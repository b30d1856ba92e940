"""Is the knowledge there: probe AUC and the directions' cosine, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.figures.style import ACCENT, BASE, MARKS, NULL, TUNED, canvas, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "suite",
    "layer",
    "position",
    "auc_base",
    "auc_tuned",
    "null_high",
    "cosine",
    "cosine_ceiling",
    "measurable",
)


def draw(cells: pd.DataFrame, suite: str, position: str) -> Figure:
    """Left: AUC of both models against shuffled classes; right: cosine and ceiling where reliable."""
    frame = cells[(cells["suite"] == suite) & (cells["position"] == position)].sort_values(
        "layer", kind="stable"
    )
    figure, (left, right) = canvas(1, 2, height=2.4)
    _aucs(left, frame)
    known = frame[frame["measurable"].astype(bool)].dropna(subset=["cosine"])
    right.plot(known["layer"], known["cosine"], marker="^", markersize=3.2, color=ACCENT, label="cosine")
    right.plot(known["layer"], known["cosine_ceiling"], color=NULL, linestyle="--", label="ceiling")
    right.set(title="direction: base against tuned", xlabel="block", ylabel="cosine", ylim=(-1.05, 1.05))
    right.legend(loc="lower right")
    left.set_title(f"{short(suite, 22)} · {short(position, 12)}")
    return figure


def _aucs(axes: Axes, frame: pd.DataFrame) -> None:
    for side, colour in (("base", BASE), ("tuned", TUNED)):
        axes.plot(
            frame["layer"], frame[f"auc_{side}"], marker=MARKS[side], markersize=3.2, color=colour, label=side
        )
    axes.plot(frame["layer"], frame["null_high"], color=NULL, linestyle="--", label="shuffled, 95 %")
    axes.set(xlabel="block (-1: embeddings alone)", ylabel="AUC, held-out entities", ylim=(0, 1.05))
    axes.legend(loc="lower right")
