"""The effect of both models, by suite and prompt form, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.figures.style import BASE, MARKS, TUNED, canvas, short, zero_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from audit.evidence.schema.documents import Estimate
    from audit.evidence.schema.results import SuiteResult

MOST = 12
"""Suites that fit on one figure."""


def draw(suites: list[SuiteResult]) -> Figure:
    """One row per suite and form, held-out entities; the shaded band is where a change counts as none."""
    rows = [(s, r) for s in suites[:MOST] for r in s.templates if r.split == "test"]
    figure, axes = canvas(height=0.75 + 0.34 * len(rows))
    for place, (suite, found) in enumerate(rows):
        low, high = sorted(
            (found.base.value - suite.equivalence_band, found.base.value + suite.equivalence_band)
        )
        axes.barh(place, high - low, left=low, height=0.7, color=BASE, alpha=0.12, linewidth=0)
        _mark(axes, found.base, place - 0.15, "base", BASE)
        _mark(axes, found.tuned, place + 0.15, "tuned", TUNED)
    axes.set_yticks(range(len(rows)), [f"{short(s.name)} · {r.template}" for s, r in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    units = {suite.unit for suite, _ in rows}
    axes.set_xlabel(f"effect on held-out entities ({short(', '.join(sorted(units)))}), 95 % interval")
    zero_line(axes, vertical=True)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _mark(axes: object, found: Estimate, place: float, side: str, colour: str) -> None:
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    axes.plot([low, high], [place, place], color=colour, linewidth=1.2)  # type: ignore[attr-defined]
    axes.plot(found.value, place, MARKS[side], color=colour, markersize=4.5, label=side)  # type: ignore[attr-defined]
