"""DAPO's wider upper clip, averaged over all tokens."""

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
class DAPO:
    """GRPO with a higher upper clip and one mean over all tokens of the batch.

    Yu et al. 2025, arXiv 2503.14476, eq. 8 and 10-12. Of its four changes clip-higher is here and the token
    mean in `card.aggregation`; the loop drops dead groups (dynamic sampling) for every method, and the
    penalty on overlong answers is a reward.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="dapo",
        title="Decoupled clip and dynamic sampling policy optimisation",
        arxiv="2503.14476",
        sources=("DAPO, arXiv 2503.14476, eq. 8, 10-12", "TRL 1.16, loss dapo"),
        formula="-min(r A, clip(r, 1 - low, 1 + high) A)",
        inert_when="one update per batch of rollouts: every ratio is 1 and nothing is clipped",
        claim_paper="the higher upper clip lets unlikely tokens rise, so that entropy does not collapse",
        aggregation="token_mean",
        believes="|r - 1| / 2",
    )
    low: float = 0.2
    """How far below 1 a ratio trains."""
    high: float = 0.28
    """How far above 1."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms; shapes as in `LossTerms`."""
        return clipped_surrogate(new, rollout, advantage, self.low, self.high)
