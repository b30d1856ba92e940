"""Delightful policy gradient: rare successes count, rare failures do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from training.config import GRPOConfig
from training.divergence import per_token
from training.registry import objective
from training.types import LossTerms, MethodCard, Rollout, Scores


@objective
@dataclass(frozen=True)
class Delightful:
    """-sg(sigmoid(A (-log pi) / eta)) A log pi.

    The gate grows with "delight", advantage times surprisal under the current policy. Osband 2026, arXiv
    2603.14608. It has no ratio, so rollouts of an older policy are taken as if they were fresh.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="delightful",
        title="Delightful policy gradient",
        arxiv="2603.14608",
        sources=("Delightful policy gradient, arXiv 2603.14608",),
        formula="-sg(sigmoid(-A log pi / eta)) A log pi",
        inert_when="never: even on fresh rollouts the gate is not 1",
        claim_paper="in bandits its gradient points closer to the best direction; beats REINFORCE and PPO",
        clashes="no trust region: it says which samples teach, not how far the policy may move",
        aggregation="token_mean",
        inert=lambda lag: False,
    )
    eta: float = 1.0
    """Temperature of the gate."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms, with the mean gate; shapes as in `LossTerms`."""
        advantage = per_token(advantage)
        gate = torch.sigmoid(-advantage * new.logp.detach() / self.eta) * rollout.mask
        mean = (gate.sum() / rollout.mask.sum().clamp(min=1)).item()
        return LossTerms(-gate * advantage * new.logp, gate, rollout.mask, {"gate": mean})
