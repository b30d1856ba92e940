"""Runs that claims are tested on, made once and shared; and contrasts of two methods on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from scipy.stats import t as student

from training.claims.types import Finding, decide
from training.compare.config import ComparisonConfig
from training.compare.controlled import Trace
from training.compare.runner import compare
from training.compare.summary import Interval

Measure = Callable[[Trace], float]


@dataclass(frozen=True)
class Bench:
    """Where runs are kept and how large they are."""

    folder: Path
    """Of traces; those of an earlier comparison with the same settings are used."""
    config: ComparisonConfig
    """How large the runs are, and on which tasks."""

    def runs(self, method: str) -> dict[str, dict[float, list[Trace]]]:
        """Traces of a method by task and learning rate, seed by seed."""
        found: dict[str, dict[float, list[Trace]]] = {}
        for trace in compare(replace(self.config, methods=method), self.folder):
            found.setdefault(trace.task, {}).setdefault(trace.learning_rate, []).append(trace)
        return found


@dataclass(frozen=True)
class Contrast:
    """One method minus another on one task, seed by seed, each at its own best learning rate."""

    task: str
    first_rate: float
    second_rate: float
    first: float
    second: float
    difference: Interval


def efficiency(run: Trace) -> float:
    """Exact reward averaged over all batches: high where a run learns early and keeps what it learned."""
    return fmean(run.reward[1:])


def contrasts(bench: Bench, first: str, second: str, measure: Measure) -> list[Contrast]:
    """A measure's difference on every task, each method at the rate at which it earns most over a run."""
    ours, theirs = bench.runs(first), bench.runs(second)
    found = []
    for task in ours:
        a, b = (max(runs[task], key=lambda r: _mean(runs[task][r], efficiency)) for runs in (ours, theirs))
        found.append(_contrast(task, (a, ours[task][a]), (b, theirs[task][b]), measure))
    return found


def contrasts_at_equal_rates(bench: Bench, first: str, second: str, measure: Measure) -> list[Contrast]:
    """A measure's difference on every task at every rate: for what a rate itself changes."""
    ours, theirs = bench.runs(first), bench.runs(second)
    return [
        _contrast(f"{task} {rate:g}", (rate, ours[task][rate]), (rate, theirs[task][rate]), measure)
        for task in ours
        for rate in ours[task]
    ]


def _contrast(
    task: str, first: tuple[float, list[Trace]], second: tuple[float, list[Trace]], measure: Measure
) -> Contrast:
    values = [[measure(run) for run in runs] for _, runs in (first, second)]
    difference = paired([x - y for x, y in zip(*values, strict=True)])
    return Contrast(task, first[0], second[0], fmean(values[0]), fmean(values[1]), difference)


def paired(differences: Sequence[float]) -> Interval:
    """Mean of paired differences with its 95 % t interval: with few seeds a bootstrap's is too short."""
    mean, n = fmean(differences), len(differences)
    if n < 2:
        return Interval(mean, float("-inf"), float("inf"))
    half = float(student.ppf(0.975, n - 1)) * stdev(differences) / n**0.5
    return Interval(mean, mean - half, mean + half)


def superior(
    bench: Bench,
    first: str,
    second: str,
    measure: Measure,
    what: str,
    *,
    less: bool = False,
    equal_rates: bool = False,
) -> Finding:
    """Supported where `first` is better on a task at least and worse on none, by 95 % intervals.

    Args:
        bench: the runs.
        first: the method that is claimed to be better.
        second: the method that it is held against.
        measure: of one run.
        what: the measure in words.
        less: whether less of it is better.
        equal_rates: whether both are held to every rate, rather than each to its own best.
    """
    contrast = contrasts_at_equal_rates if equal_rates else contrasts
    found = contrast(bench, first, second, measure)
    sign = -1 if less else 1
    better = [c.task for c in found if min(sign * c.difference.low, sign * c.difference.high) > 0]
    worse = [c.task for c in found if max(sign * c.difference.low, sign * c.difference.high) < 0]
    said = f"{what}, {first} minus {second}: " + "; ".join(map(_in_words, found))
    return Finding(decide(bool(better) and not worse), said, _numbers(found))


def elsewhere(bench: Bench, task: str, model: str) -> Finding:
    """The finding of a claim on a task that the bench does not have."""
    if task in bench.config.task.split(","):
        raise NotImplementedError(f"{task} is on the bench now: this claim needs a measurement")
    return Finding("not testable here", f"it is about {task} and {model}; the bench has {bench.config.task}")


def _in_words(c: Contrast) -> str:
    d = c.difference
    return f"{c.task} {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"


def _numbers(found: Sequence[Contrast]) -> dict[str, float]:
    return {
        f"{c.task}.{name}": value
        for c in found
        for name, value in (
            ("first", c.first), ("second", c.second), ("difference", c.difference.value),
            ("low", c.difference.low), ("high", c.difference.high),
            ("first_rate", c.first_rate), ("second_rate", c.second_rate),
        )
    }  # fmt: skip


def _mean(runs: Sequence[Trace], measure: Measure) -> float:
    return fmean(map(measure, runs))
