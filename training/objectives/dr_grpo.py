"""GRPO without its two normalisations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from training.config import GRPOConfig
from training.objectives.grpo import clipped_surrogate
from training.registry import objective
from training.types import LossTerms, MethodCard, Rollout, Scores


@objective
@dataclass(frozen=True)
class DrGRPO:
    """GRPO's token loss, summed and divided by a constant, with advantages not divided by their spread.

    Liu et al. 2025, arXiv 2503.20783, eq. 2 and 3: dividing by a rollout's length favours long wrong answers,
    dividing by the group's standard deviation favours questions that are nearly always or never solved. Both
    changes lie outside the token loss: in `card.aggregation` and `card.advantage`.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="dr_grpo",
        title="GRPO done right",
        arxiv="2503.20783",
        sources=("Understanding R1-Zero-like training, arXiv 2503.20783, eq. 2-3", "TRL 1.16, loss dr_grpo"),
        formula="-min(r A, clip(r, 1 - e, 1 + e) A), A = R - mean",
        inert_when="one update per batch of rollouts: every ratio is 1 and nothing is clipped",
        claim_paper="unlike GRPO, weighs a wrong answer the same whatever its length",
        aggregation="constant",
        advantage="group_mean",
        believes="|r - 1| / 2",
    )
    clip: float = 0.2
    """Half-width of the interval of ratios."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms; shapes as in `LossTerms`."""
        return clipped_surrogate(new, rollout, advantage, self.clip, self.clip)
