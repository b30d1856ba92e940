"""What training did, step by step: reward with its spread, divergence, groups without variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.figures.style import ACCENT, BASE, SERIES, SHAPES, TUNED, canvas, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLUMNS = ("step", "channel", "reward", "reward_std", "dead_groups", "exact_kl")


def draw(steps: pd.DataFrame) -> Figure:
    """Left: mean reward per channel; middle: spread inside groups and dead groups; right: exact KL."""
    figure, (left, middle, right) = canvas(1, 3, height=2.3)
    for (name, frame), colour, shape in zip(
        steps.groupby("channel", observed=True), SERIES, SHAPES, strict=False
    ):
        means = frame.groupby("step")["reward"].mean()
        every = max(1, len(means) // 10)
        left.plot(
            means.index,
            means,
            color=colour,
            marker=shape,
            markersize=3,
            markevery=every,
            label=short(str(name), 18),
        )
    total = steps[steps["channel"] == "total"] if (steps["channel"] == "total").any() else steps
    by_step = total.groupby("step")[["reward_std", "dead_groups", "exact_kl"]].mean()
    every = max(1, len(by_step) // 10)
    style = {"markersize": 3, "markevery": every}
    middle.plot(
        by_step.index, by_step["reward_std"], color=ACCENT, marker="^", label="std inside groups", **style
    )
    middle.plot(by_step.index, by_step["dead_groups"], color=TUNED, marker="s", label="dead groups", **style)
    if by_step["exact_kl"].notna().any():
        right.plot(by_step.index, by_step["exact_kl"], color=BASE, marker="o", **style)
    else:
        right.text(0.5, 0.5, "not measured", ha="center", va="center", transform=right.transAxes)
    left.set(title="mean reward", xlabel="step")
    middle.set(title="reward variance", xlabel="step", ylim=(0, None))
    right.set(title="KL(reference || policy), nats", xlabel="step", ylim=(0, None))
    left.legend(loc="best")
    middle.legend(loc="best")
    return figure
