"""Named quantities with intervals, side by side: ways of asking, modules put back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from reports.figures.style import BASE, NULL, TUNED, canvas, short, zero_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 24


class Bar(NamedTuple):
    """One row."""

    name: str
    value: float
    low: float | None
    high: float | None
    control: bool = False


def draw(bars: Sequence[Bar], label: str, mark: float | None = None) -> Figure:
    """One row per bar, its interval as a line; controls are grey diamonds; `mark` is a threshold."""
    shown = list(bars[:MOST])
    figure, axes = canvas(height=0.7 + 0.2 * max(3, len(shown)))
    zero_line(axes, vertical=True)
    if mark is not None:
        axes.axvline(mark, color=TUNED, linewidth=0.8, linestyle="--")
    for place, bar in enumerate(shown):
        colour, shape = (NULL, "D") if bar.control else (BASE, "o")
        low = bar.value if bar.low is None else bar.low
        high = bar.value if bar.high is None else bar.high
        axes.plot([low, high], [place, place], color=colour, linewidth=1.1)
        axes.plot(bar.value, place, shape, color=colour, markersize=4)
    axes.set_yticks(range(len(shown)), [short(bar.name, 44) for bar in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(label)
    return figure
