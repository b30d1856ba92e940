"""The effect b of a behaviour, its paired change between two models, and the share of it that was lost.

b is a mean over entities ("macro"): every entity counts once, however many items speak of it, because
entities are what splits and the bootstrap treat as independent and what the auditor wants to generalise
over. For a contrast it is the mean over the high group's entities minus the mean over the low group's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from audit.measures.bootstrap import (
    Estimate,
    FloatArray,
    IntArray,
    Resampled,
    freedom,
    interval,
    sum_estimates,
)
from audit.measures.layout import Contrast, lay_out
from audit.measures.sign_flip import sign_flip_p_value

__all__ = ["TURNED", "Estimate", "PairedChange", "behaviour_effect", "paired_change", "turned_share"]

TURNED = 0.5
"""A behaviour was turned on or off where the change is at least this share of the larger of both effects.
Training on anything moves behaviours a little, and whatever moved one most gives some of it back: a shift."""


@dataclass(frozen=True)
class PairedChange:
    """One behaviour in both models; every interval comes from the same resampled entities."""

    base: Estimate
    tuned: Estimate
    change: Estimate
    """b_tuned - b_base."""
    lost_share: Estimate | None
    """(b_base - b_tuned) / (b_base - null): 1 all of it, 0 nothing, above 1 reversed. None where the
    interval of the base effect touches the null, since there is then nothing to lose a share of."""
    gained_share: Estimate | None
    """(b_tuned - b_base) / (b_tuned - null): the same with the models in each other's place."""
    p_value: float
    """Two-sided, of no change: sign flips of the entities' changes (see `sign_flip`)."""
    base_p_value: float
    """One-sided, of a base effect not above its null: Welch's t over entities."""

    def base_above_null(self, level: float = 0.05) -> bool:
        """Whether the base shows the behaviour at all."""
        return self.base_p_value < level


def behaviour_effect(
    m: ArrayLike,
    entity: ArrayLike,
    *,
    group: ArrayLike | None = None,
    contrast: Contrast | None = None,
    draws: int = 4000,
    seed: int = 0,
) -> Estimate:
    """The effect b of one model with its bootstrap interval over entities.

    Args:
        m: score per item, nats.
        entity: who each item speaks of.
        group: group of each item; needed for a contrast.
        contrast: (high, low) groups; None for a level. Items of other groups do not enter.
        draws: bootstrap resamples.
        seed: of the resampling.

    Raises:
        ValueError: no items, lengths differ, a score is not finite, or a contrast group is empty.
    """
    layout = lay_out(entity, group, contrast)
    contributions = layout.contributions(layout.scores(m))[:, None]
    return sum_estimates(contributions, layout.stratum, draws, seed).estimates[0]


def paired_change(
    m_base: ArrayLike,
    m_tuned: ArrayLike,
    entity: ArrayLike,
    *,
    group: ArrayLike | None = None,
    contrast: Contrast | None = None,
    null: float = 0.0,
    draws: int = 4000,
    seed: int = 0,
) -> PairedChange:
    """How a behaviour changed between two models scored on the same items, in the same order.

    Args as `behaviour_effect`; `null` is the effect of a model without the behaviour. Changes are taken
    item by item before anything is resampled, so a model compared with itself changes by exactly 0,
    interval [0, 0].
    """
    layout = lay_out(entity, group, contrast)
    base, tuned = (layout.scores(m) for m in (m_base, m_tuned))
    difference = tuned - base
    columns = [layout.contributions(column) for column in (base, tuned, difference)]
    found = sum_estimates(np.stack(columns, axis=1), layout.stratum, draws, seed)
    base_effect, tuned_effect, change = found.estimates
    flips = layout.contributions(difference - layout.common(difference))
    return PairedChange(
        base=base_effect,
        tuned=tuned_effect,
        change=change,
        lost_share=_share(found, 0, null),
        gained_share=_share(found, 1, null),
        p_value=sign_flip_p_value(flips, scale=float(np.abs(np.stack([base, tuned])).max()), seed=seed),
        base_p_value=_p_above(columns[0], layout.stratum, null),
    )


def _share(found: Resampled, showing: int, null: float) -> Estimate | None:
    """What the other model does not show of one model's effect: of the base's (0) or the tuned one's (1)."""
    effect, change = found.estimates[showing], found.estimates[2]
    if effect.low <= null <= effect.high:
        return None
    if change.low == change.high == 0:
        return Estimate(0.0, 0.0, 0.0, effect.n)
    sign = -1 if showing == 0 else 1
    low, high = interval(sign * found.draws[:, 2] / (found.draws[:, showing] - null), found.degrees)
    return Estimate(sign * change.value / (effect.value - null), float(low), float(high), effect.n)


def _p_above(contributions: FloatArray, stratum: IntArray, null: float) -> float:
    """One-sided p of b <= null: b over its standard error against Student's t, degrees after Welch 1947.

    1 where the strata are too small to say, or where the entities do not vary and b does not exceed the null.
    """
    if freedom(stratum) == 0:
        return 1.0
    blocks = [contributions[stratum == s] for s in np.unique(stratum)]
    parts = np.array([len(block) * block.var(ddof=1) for block in blocks])
    excess, variance = contributions.sum() - null, parts.sum()
    if variance <= (1e-12 * np.abs(contributions).sum()) ** 2:
        return 0.0 if excess > 1e-12 * np.abs(contributions).sum() else 1.0
    degrees = variance**2 / (parts**2 / np.array([len(block) - 1 for block in blocks])).sum()
    return float(stats.t.sf(excess / np.sqrt(variance), degrees))


def turned_share(base: float, tuned: float) -> float:
    """Change over the larger of two effects, each above the level of no effect; 0 for no effect at all."""
    largest = max(abs(base), abs(tuned))
    return abs(tuned - base) / largest if largest else 0.0
