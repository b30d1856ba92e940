"""Item-level flips between two models, their exact test, and the correction over many tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from audit.measures.bootstrap import FloatArray


@dataclass(frozen=True)
class Flips:
    """How many items show the behaviour (m > 0) in which model."""

    both: int
    stopped: int
    """Shown by the base only."""
    started: int
    """Shown by the tuned model only."""
    neither: int
    p_value: float
    """McNemar's exact test of stopped against started, two-sided. It takes items for independent: where
    entities have many items it is too sure, and the entity-level interval of the change is what counts."""

    @property
    def items(self) -> int:
        """All items compared."""
        return self.both + self.stopped + self.started + self.neither


def count_flips(
    m_base: ArrayLike,
    m_tuned: ArrayLike,
    *,
    group: ArrayLike | None = None,
    contrast: tuple[str, str] | None = None,
) -> Flips:
    """Counts items by the sign of m in both models, in the same item order.

    m = 0 prefers neither side and does not show. In a contrast an item of the low group shows the behaviour
    by m < 0, and items of other groups are left out. No item flipped: p = 1.

    Raises:
        ValueError: no items, shapes differ, or a score is not finite.
    """
    base, tuned = np.asarray(m_base, dtype=np.float64), np.asarray(m_tuned, dtype=np.float64)
    if base.shape != tuned.shape or base.ndim != 1:
        raise ValueError(f"scores of shapes {base.shape} and {tuned.shape}")
    if not (np.isfinite(base).all() and np.isfinite(tuned).all()):
        raise ValueError("a score is not finite")
    side = _sides(len(base), group, contrast)
    base, tuned = (scores[side != 0] * side[side != 0] for scores in (base, tuned))
    if not base.size:
        raise ValueError("no items to compare")
    before, after = base > 0, tuned > 0
    stopped, started = int((before & ~after).sum()), int((~before & after).sum())
    p_value = stats.binomtest(stopped, stopped + started).pvalue if stopped + started else 1.0
    both, neither = int((before & after).sum()), int((~before & ~after).sum())
    return Flips(both, stopped, started, neither, float(p_value))


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """q-values: the false discovery rate at which each test would be called (Benjamini and Hochberg 1995)."""
    p = np.asarray(p_values, dtype=np.float64)
    return np.asarray(stats.false_discovery_control(p), dtype=np.float64) if p.size else p


def _sides(items: int, group: ArrayLike | None, contrast: tuple[str, str] | None) -> FloatArray:
    if contrast is None:
        return np.ones(items)
    groups = [] if group is None else np.asarray(group, dtype=object).tolist()
    if len(groups) != items:
        raise ValueError(f"a contrast needs each item's group: {len(groups)} groups for {items} items")
    return np.array([float(g == contrast[0]) - float(g == contrast[1]) for g in groups])
