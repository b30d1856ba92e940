"""What a dose curve says: where it crosses a threshold, and how fast the damage goes back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, median_low


@dataclass(frozen=True)
class Crossing:
    """Between which doses one curve first reaches a threshold."""

    before: float
    """Largest dose below the crossing that was looked at; the threshold was not reached there."""
    at: float
    """First dose at which it was reached; infinite where it never was."""


def crossing(doses: Sequence[float], values: Sequence[float], threshold: float) -> Crossing:
    """The first dose whose value is at the threshold or above, and the dose before it.

    Args:
        doses: ascending.
        values: one per dose.
        threshold: the level that counts as harm.
    """
    before = 0.0
    for dose, value in zip(doses, values, strict=True):
        if value >= threshold:
            return Crossing(min(before, dose), float(dose))
        before = float(dose)
    return Crossing(before, math.inf)


@dataclass(frozen=True)
class SmallestDose:
    """The crossings of several seeds as one number with its range."""

    value: float
    """Median over the seeds that crossed; of two middle ones the lower, which is a dose that was tried."""
    low: float
    """Smallest dose below any seed's crossing: the grid of doses hides what lies between."""
    high: float
    """Largest crossing; infinite where a seed did not cross."""
    n: int
    """Seeds that crossed."""


def smallest_dose(crossings: Sequence[Crossing]) -> SmallestDose | None:
    """The smallest harmful dose over seeds; None where no seed crossed.

    Where all seeds cross, [low, high] holds the median dose of all possible seeds with a probability of at
    least 1 - 2^(1 - n), by order statistics: 75 % for three seeds, 94 % for five, 97 % for six.
    """
    crossed = [one for one in crossings if math.isfinite(one.at)]
    if not crossed:
        return None
    return SmallestDose(
        value=median_low([one.at for one in crossed]),
        low=min(one.before for one in crossed),
        high=max(one.at for one in crossings),
        n=len(crossed),
    )


def half_life(steps: Sequence[float], excess: Sequence[float]) -> float | None:
    """Steps after which half of the damage is gone, linear between the steps that were looked at.

    Args:
        steps: ascending from 0, the moment before realignment.
        excess: what the attack added and is still there, at each of them; the first is positive.

    Returns:
        None where half of it is still there after the last step.
    """
    half = excess[0] / 2
    for i in range(1, len(steps)):
        if excess[i] <= half:
            span, fall = steps[i] - steps[i - 1], excess[i - 1] - excess[i]
            return steps[i - 1] + span * (excess[i - 1] - half) / fall
    return None


def median_half_life(lives: Sequence[float | None]) -> float | None:
    """The median over seeds, one that was not reached counting as longer than any; None where that is it."""
    found = median([math.inf if life is None else life for life in lives]) if lives else math.inf
    return found if math.isfinite(found) else None
