"""What the arithmetic alone moves: the drift between a model and itself, run in another way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from audit.measures.bootstrap import Estimate
from audit.measures.sequence import sequence_kl


@dataclass(frozen=True)
class NoiseFloor:
    """Drift of a model from its own reload in another dtype or batch size."""

    estimate: Estimate
    """Its sequence KL, nats."""
    per_step: float
    """The largest next-token KL seen, nats: a floor for outlier steps."""

    @property
    def bound(self) -> float:
        """Upper end of the interval, nats: drift must exceed it to be reported as movement."""
        return self.estimate.high


def noise_floor(per_step: ArrayLike, mask: ArrayLike, *, draws: int = 4000, seed: int = 0) -> NoiseFloor:
    """The floor from one reload; with several, the one with the highest `bound` counts.

    Args:
        per_step: [N, T] next-token KL between the model and its reload on the model's own samples, nats.
        mask: [N, T] steps that count.
        draws: bootstrap resamples of sequences.
        seed: of the resampling.

    Raises:
        ValueError: as `sequence_kl`.
    """
    estimate = sequence_kl(per_step, mask, draws=draws, seed=seed)
    largest = np.asarray(per_step, dtype=np.float64)[np.asarray(mask, dtype=np.bool_)].max()
    return NoiseFloor(estimate, float(largest))
