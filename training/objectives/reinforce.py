"""REINFORCE, the control without any trust region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from training.config import GRPOConfig
from training.divergence import per_token
from training.registry import objective
from training.types import LossTerms, MethodCard, Rollout, Scores


@objective
@dataclass(frozen=True)
class Reinforce:
    """-A log pi, whoever sampled the token: the arm that any trust region must beat.

    Williams 1992; with a group's baseline: Ahmadian et al. 2024, arXiv 2402.14740. Rollouts of an older
    policy are taken as if they were fresh.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="reinforce",
        title="Policy gradient without a trust region",
        arxiv="2402.14740",
        sources=("Williams 1992", "Back to basics, arXiv 2402.14740"),
        formula="-A log pi",
        inert_when="always: it is plain policy gradient",
        claim_paper="from a good start no clip is needed: REINFORCE with a leave-one-out baseline beats PPO",
        aggregation="token_mean",
        advantage="rloo",
        inert=lambda lag: True,
    )

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms; shapes as in `LossTerms`."""
        weight = rollout.mask.to(new.logp.dtype)
        return LossTerms(-weight * per_token(advantage) * new.logp, weight, rollout.mask)
