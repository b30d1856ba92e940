"""What the ladder read in every organism, as a picture: which rung tells which truth from which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from audit.calibration import Thresholds
from audit.evidence.schema.results import LadderEvidence
from audit.organisms.manifest import Verdict
from audit.selftest.cell import Found
from audit.selftest.plan import APART
from audit.verdict import decide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS: tuple[Verdict, ...] = ("MASKED", "LATENT", "ERASED", "CONTESTED", "INCONCLUSIVE")
"""Truths of models that lost something; the last two are what nobody agrees on, and mixtures."""
SAID = {"CONTESTED": "contested", "INCONCLUSIVE": "mixture"}
RIGHT, OTHER, APART_INK = "#2f6db3", "#c1440e", "#7a7a7a"
LEFT, FAR = -0.25, 1.35
"""Ends of the axes of R; what lies beyond is drawn at the end."""


class Rung(NamedTuple):
    """One column of the picture."""

    title: str
    read: Callable[[LadderEvidence], float | None]
    lines: Callable[[Thresholds], tuple[float, ...]]
    low: float = LEFT
    high: float = FAR


def draw_ladder(found: Sequence[Found], thresholds: Thresholds) -> Figure:
    """A row per planted truth, a column per rung, a dot per organism, thresholds as lines.

    Full dots got the verdict of their row. Organisms that failed the check of their construction, and those
    that lost nothing, are left out.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown = [one for one in found if one.valid and one.evidence.moved == "fell" and one.expected in ROWS]
    rows = [row for row in ROWS if any(one.expected == row for one in shown)]
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(8.6, 1.3 + 0.62 * max(1, len(rows))))
        axes = figure.subplots(1, len(RUNGS), sharey=True)
        for axis, rung in zip(axes, RUNGS, strict=True):
            _column(axis, rung, rows, shown, thresholds)
        axes[0].set_yticks(range(len(rows)), [SAID.get(row, row) for row in rows])
        axes[0].set_ylim(max(len(rows), 1) - 0.5, -0.5)
        figure.subplots_adjust(left=0.1, right=0.985, bottom=0.2, top=0.78, wspace=0.12)
    return figure


def _column(
    axes: Axes, rung: Rung, rows: Sequence[str], shown: Sequence[Found], thresholds: Thresholds
) -> None:
    axes.set_title(rung.title)
    span = rung.high - rung.low
    axes.set_xlim(rung.low - 0.04 * span, rung.high + 0.04 * span)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    for edge in range(1, len(rows)):
        axes.axhline(edge - 0.5, color="#dddddd", linewidth=0.8)
    for line in rung.lines(thresholds):
        axes.axvline(line, color="#555555", linewidth=0.8, linestyle="--")
    for place, row in enumerate(rows):
        own = [one for one in shown if one.expected == row]
        read = [(one, value) for one in own if (value := rung.read(one.evidence)) is not None]
        heights = place + 0.6 * (_spread(len(read)) - 0.5)
        for (one, value), height in zip(read, heights, strict=True):
            ink, full = _look(one, thresholds)
            axes.plot(
                min(max(value, rung.low), rung.high), height, "o", color=ink, markersize=3.2,
                markerfacecolor=ink if full else "white", markeredgewidth=0.8,
            )  # fmt: skip


def _look(one: Found, thresholds: Thresholds) -> tuple[str, bool]:
    """Colour of a dot, and whether it is full."""
    if one.expected in APART:
        return APART_INK, True
    right = decide(one.evidence, thresholds).verdict == one.expected
    return (RIGHT, True) if right else (OTHER, False)


def _spread(count: int) -> np.ndarray:
    """Heights that keep neighbours apart: the golden ratio's multiples, 0 to 1."""
    return (np.arange(count) * 0.6180339887) % 1.0


def _way(name: str) -> Callable[[LadderEvidence], float | None]:
    def read(evidence: LadderEvidence) -> float | None:
        way = evidence.ways.get(name)
        return None if way is None else way.recovered

    return read


def _dose(last: bool) -> Callable[[LadderEvidence], float | None]:
    def read(evidence: LadderEvidence) -> float | None:
        return evidence.relearned[-1 if last else 0].recovered if evidence.relearned else None

    return read


RUNGS = (
    Rung("class found\n(probe AUC)", lambda e: e.known, lambda t: (t.chance, t.known), 0.2, 1.0),
    Rung(
        "same path\n(cosine)",
        lambda e: e.carried,
        lambda t: (t.elsewhere, t.carried),
        -0.2,
        1.0,
    ),
    Rung("parts silenced\n(R)", _way("internal"), lambda t: (t.closed, t.bypass)),
    Rung("gates\n(R)", _way("gates"), lambda t: (t.gates_closed, t.gates, t.gates_built)),
    Rung("a new wire\n(R)", _way("rewire"), lambda t: (t.closed,)),
    Rung("few steps of\ntraining (R)", _dose(last=False), lambda t: (t.relearn_slow, t.relearn)),
    Rung("most steps of\ntraining (R)", _dose(last=True), lambda t: (t.relearn_last,)),
)
