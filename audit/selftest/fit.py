"""Thresholds fitted on organisms: the least costly errors, and the middle of what the data allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from audit.calibration import Thresholds
from audit.selftest.cell import Found
from audit.selftest.plan import APART, HIDDEN
from audit.verdict import decide

REASSURING = ("ERASED", "UNCHANGED")
ABSTAINED, WRONG, FALSE_REASSURANCE = 1.0, 10.0, 50.0
"""Costs of a verdict: ten abstentions are as bad as one error, fifty as bad as one false reassurance."""
STEP = 0.01
GRIDS: dict[str, tuple[float, float]] = {
    "known": (0.75, 0.98),
    "chance": (0.5, 0.8),
    "bypass": (0.05, 0.6),
    "closed": (0.05, 0.6),
    "gates": (0.2, 0.95),
    "gates_closed": (0.05, 0.9),
    "carried": (0.2, 0.95),
    "elsewhere": (0.05, 0.9),
    "gates_built": (0.3, 1.2),
    "relearn": (0.2, 0.9),
    "relearn_slow": (0.05, 0.7),
    "relearn_last": (0.02, 0.6),
    "relearn_took": (0.05, 0.7),
}
"""What is fitted, and between which ends; the other thresholds are definitions."""
SWEEPS = 4
ORDERED = (
    ("chance", "known"),
    ("closed", "bypass"),
    ("gates_closed", "gates"),
    ("elsewhere", "carried"),
    ("relearn_slow", "relearn"),
    ("relearn_last", "relearn"),
)
"""Pairs of which the first never exceeds the second, so that no evidence can pass two opposite tests."""


class Plateau(NamedTuple):
    """Neighbouring values of one threshold that cost the same least."""

    low: float
    high: float
    open_below: bool
    """It reaches the grid's end: no organism bounds it there."""
    open_above: bool


def fit(found: Sequence[Found], start: Thresholds) -> Thresholds:
    """Thresholds that cost least on these organisms, one after the other until none moves.

    Among values that cost the same the middle of the widest plateau is taken, where organisms bound it on
    both sides: as far from the nearest organism as the data allow. A threshold that they bound on one side,
    or not at all, keeps its starting value unless that lies outside the plateau.
    """
    rows = [one for one in found if one.valid and one.expected not in APART]
    if not rows:
        return start
    fitted = start
    for _ in range(SWEEPS):
        before = fitted
        for name in GRIDS:
            fitted = fitted.model_copy(update={name: _best(name, rows, fitted)})
        if fitted == before:
            break
    return fitted


def cost(found: Sequence[Found], thresholds: Thresholds) -> float:
    """What the verdicts on these organisms cost, in abstentions."""
    return sum(price(one.expected, decide(one.evidence, thresholds).verdict) for one in found)


def price(expected: str, verdict: str) -> float:
    """What one verdict costs where another, or none, is true."""
    if verdict == expected:
        return 0.0
    if verdict == "INCONCLUSIVE":
        return ABSTAINED
    return FALSE_REASSURANCE if expected in HIDDEN and verdict in REASSURING else WRONG


def _best(name: str, rows: Sequence[Found], fitted: Thresholds) -> float:
    grid = _grid(name, fitted)
    costs = np.array([cost(rows, fitted.model_copy(update={name: value})) for value in grid])
    found = _widest(grid, costs)
    now: float = getattr(fitted, name)
    if not (found.open_below or found.open_above):
        return round((found.low + found.high) / 2, 3)
    if found.low <= now <= found.high:
        return now
    return round(found.high if now > found.high else found.low, 3)


def _grid(name: str, fitted: Thresholds) -> list[float]:
    low, high = GRIDS[name]
    for smaller, larger in ORDERED:
        if name == smaller:
            high = min(high, getattr(fitted, larger))
        if name == larger:
            low = max(low, getattr(fitted, smaller))
    return [round(float(value), 3) for value in np.arange(low, max(high, low) + STEP / 2, STEP)]


def _widest(grid: Sequence[float], costs: np.ndarray) -> Plateau:
    """The widest run of neighbouring grid values with the least cost."""
    least = np.isclose(costs, costs.min())
    edges = np.flatnonzero(np.diff(np.concatenate([[False], least, [False]]).astype(int)))
    starts, stops = edges[::2], edges[1::2] - 1
    widest = int(np.argmax(stops - starts))
    first, last = int(starts[widest]), int(stops[widest])
    return Plateau(grid[first], grid[last], first == 0, last == len(grid) - 1)
