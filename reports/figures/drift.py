"""How the divergence of the two models grows along sampled text, against the noise floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.figures.style import BASE, MARKS, QUIET, TUNED, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from audit.evidence.schema.results import DirectionDrift, DriftResult

SIDES = (
    ("forward", "prefixes from the base", BASE, "base"),
    ("reverse", "prefixes from the tuned model", TUNED, "tuned"),
)


def draw(result: DriftResult) -> Figure:
    """Cumulative KL up to each step, both directions, with 95 % bands."""
    figure, axes = canvas(height=2.6)
    for name, label, colour, side in SIDES:
        found: DirectionDrift = getattr(result, name)
        steps = range(1, len(found.prefix_curve) + 1)
        middle = [e.value for e in found.prefix_curve]
        low = [e.value if e.low is None else e.low for e in found.prefix_curve]
        high = [e.value if e.high is None else e.high for e in found.prefix_curve]
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        marks = max(1, len(middle) // 12)
        axes.plot(
            steps, middle, color=colour, marker=MARKS[side], markersize=3.5, markevery=marks, label=label
        )
    axes.axhline(result.noise_floor.upper, color=QUIET, linestyle="--", linewidth=1.0, label="noise floor")
    axes.set(xlabel="tokens sampled", ylabel="cumulative KL, nats", ylim=(0, None))
    axes.legend(loc="upper left")
    return figure
