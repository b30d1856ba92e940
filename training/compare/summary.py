"""From traces to one row per task, method and learning rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean, median

import numpy as np

from training.compare.controlled import Trace

COLLAPSE = (
    "a run has collapsed when its last tenth earns less than half of what its best batch did, or when its "
    "policy became certain (entropy below 1 % of the start's) below the task's threshold"
)
"""What `Row.collapsed` counts."""
LAST = 0.1
"""Share of a run's batches whose mean is its reward."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % bootstrap interval (percentiles; crude for few seeds)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One method on one task at one learning rate."""

    task: str
    method: str
    learning_rate: float
    seeds: int
    reward: Interval
    """Exact expected reward over the last tenth of the batches."""
    reached: int
    """Seeds that reached the task's threshold."""
    steps: float | None
    """Median updates to the threshold among these."""
    variance: Interval
    """Variance of a batch's gradient at its last, stalest update, averaged over batches."""
    relative_variance: Interval
    """That variance over the squared norm of the gradient, each averaged over batches first."""
    fell: int
    """Seeds that earn less than half of their best at the end."""
    stuck: int
    """Seeds that became certain of too little."""
    tv: Interval
    """Exact total variation of whole completions across a batch's updates, averaged over batches."""
    kl: Interval
    """Exact KL(sampler || policy) likewise, nats."""
    believed: Interval | None
    """What the method took its divergence for at the same moments, on the rollouts it trained on."""
    cut: tuple[float, ...]
    """Share of tokens without gradient by position, over stale updates."""
    attenuated: tuple[float, ...]
    """Share of kept tokens whose weight is off their ratio by more than a tenth, likewise."""

    @property
    def collapsed(self) -> float:
        """Share of seeds that fell or got stuck."""
        return (self.fell + self.stuck) / self.seeds


def summarise(traces: Sequence[Trace], thresholds: dict[str, float]) -> list[Row]:
    """One row per task, method and learning rate, in the order in which they first occur."""
    groups: dict[tuple[str, str, float], list[Trace]] = {}
    for trace in traces:
        groups.setdefault((trace.task, trace.method, trace.learning_rate), []).append(trace)
    return [_row(group, thresholds[task]) for (task, _, _), group in groups.items()]


def _row(runs: list[Trace], threshold: float) -> Row:
    first, steps = runs[0], [found for run in runs if (found := steps_to(run, threshold)) is not None]
    believed = [value for run in runs for value in run.believed if value is not None]
    fates = [fate(run, threshold) for run in runs]
    return Row(
        task=first.task,
        method=first.method,
        learning_rate=first.learning_rate,
        seeds=len(runs),
        reward=over_seeds(runs, last_reward),
        reached=len(steps),
        steps=median(steps) if steps else None,
        variance=over_seeds(runs, lambda run: fmean(run.variance)),
        relative_variance=over_seeds(runs, lambda run: fmean(run.variance) / max(fmean(run.signal), 1e-30)),
        fell=fates.count("fell"),
        stuck=fates.count("stuck"),
        tv=over_seeds(runs, lambda run: fmean(run.tv)),
        kl=over_seeds(runs, lambda run: fmean(run.kl)),
        believed=over_seeds(runs, lambda run: fmean(v for v in run.believed if v is not None))
        if believed
        else None,
        cut=_by_position([run.cut for run in runs]),
        attenuated=_by_position([run.attenuated for run in runs]),
    )


def last_reward(run: Trace) -> float:
    """Mean exact reward over the last tenth of a run's batches."""
    return fmean(run.reward[-max(1, round(LAST * (len(run.reward) - 1))) :])


def steps_to(run: Trace, threshold: float) -> float | None:
    """Updates until the exact reward, read after each batch, first reached a threshold."""
    per_batch = run.updates / (len(run.reward) - 1)
    return next((i * per_batch for i, value in enumerate(run.reward) if value >= threshold), None)


def fate(run: Trace, threshold: float) -> str | None:
    """'fell', 'stuck' or None; see `COLLAPSE`."""
    reward = last_reward(run)
    if reward < max(run.reward) / 2:
        return "fell"
    return "stuck" if run.entropy[-1] < 0.01 * run.entropy[0] and reward < threshold else None


def over_seeds(runs: Sequence[Trace], measure: Callable[[Trace], float]) -> Interval:
    """A measure's mean over seeds and its bootstrap interval."""
    return bootstrap([measure(run) for run in runs])


def bootstrap(values: Sequence[float], draws: int = 10_000) -> Interval:
    """Mean and 95 % percentile interval over resampled values; all resamples where there are few."""
    array = np.asarray(values, dtype=float)
    n = len(array)
    if n**n <= draws:
        chosen = np.array(list(product(range(n), repeat=n)))
    else:
        chosen = np.random.default_rng(0).integers(n, size=(draws, n))
    low, high = np.percentile(array[chosen].mean(axis=1), [2.5, 97.5])
    return Interval(float(array.mean()), float(low), float(high))


def _by_position(shares: list[list[list[float]]]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.array(shares).mean(axis=(0, 1)))
