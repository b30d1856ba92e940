"""How much of a lost behaviour an intervention brings back, R = (b_x - b_tuned) / (b_base - b_tuned)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from audit.measures.bootstrap import Estimate, Resampled, interval, sum_estimates
from audit.measures.layout import Contrast, lay_out


@dataclass(frozen=True)
class Recovery:
    """What training took, and the share of it that each intervention gives back."""

    gap: Estimate
    """b_base - b_tuned."""
    shares: tuple[Estimate, ...] | None
    """R per intervention: 0 the tuned model, 1 the base, above 1 beyond it, below 0 further away. None where
    the interval of the gap includes 0: there is then nothing to recover a share of."""


def recovery(
    m_base: ArrayLike,
    m_tuned: ArrayLike,
    m_bypassed: Sequence[ArrayLike],
    entity: ArrayLike,
    *,
    group: ArrayLike | None = None,
    contrast: Contrast | None = None,
    draws: int = 4000,
    seed: int = 0,
) -> Recovery:
    """The recovered share of each of some interventions, paired by item.

    Numerator and denominator see the same resampled entities, and differences are taken item by item first.

    Args:
        m_base: score per item in the base, nats.
        m_tuned: the same items in the tuned model.
        m_bypassed: the same items in the tuned model under each intervention.
        entity: who each item speaks of.
        group: group of each item; needed for a contrast.
        contrast: (high, low) groups; None for a level.
        draws: bootstrap resamples.
        seed: of the resampling.

    Raises:
        ValueError: as `audit.measures.effect.behaviour_effect`.
    """
    layout = lay_out(entity, group, contrast)
    base, tuned = layout.scores(m_base), layout.scores(m_tuned)
    differences = [base - tuned, *(layout.scores(m) - tuned for m in m_bypassed)]
    columns = [layout.contributions(difference) for difference in differences]
    found = sum_estimates(np.stack(columns, axis=1), layout.stratum, draws, seed)
    gap = found.estimates[0]
    if gap.low <= 0 <= gap.high:
        return Recovery(gap, None)
    return Recovery(gap, tuple(_share(found, column) for column in range(1, len(columns))))


def _share(found: Resampled, column: int) -> Estimate:
    gap, gained = found.estimates[0], found.estimates[column]
    if gained.value == gained.low == gained.high == 0:
        return Estimate(0.0, 0.0, 0.0, gap.n)
    low, high = interval(found.draws[:, column] / found.draws[:, 0], found.degrees)
    return Estimate(gained.value / gap.value, float(low), float(high), gap.n)
