"""CISPO's truncated importance weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from training.config import GRPOConfig
from training.divergence import believed, per_token, ratio_of, share
from training.registry import objective
from training.types import LossTerms, MethodCard, Rollout, Scores


@objective
@dataclass(frozen=True)
class CISPO:
    """-sg(min(r, cap)) A log pi: the weight is bounded, and no token loses its gradient.

    MiniMax-M1, arXiv 2506.13585, eq. 4-5, with the lower bound left out as there.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="cispo",
        title="Clipped importance-sampling policy optimisation",
        arxiv="2506.13585",
        sources=("MiniMax-M1, arXiv 2506.13585, eq. 4-5", "TRL 1.16, loss cispo"),
        formula="-sg(min(r, cap)) A log pi",
        inert_when="one update per batch of rollouts: every ratio is 1, so every weight is 1",
        claim_paper="keeps the gradient of rare, decisive tokens, and needs half of DAPO's steps",
        aggregation="token_mean",
        believes="|r - 1| / 2",
    )
    cap: float = 5.0
    """Largest weight."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms, with the share of capped tokens; shapes as in `LossTerms`."""
        ratio, advantage = ratio_of(new.logp, rollout.sampler_logp).detach(), per_token(advantage)
        weight = ratio.clamp(max=self.cap) * rollout.mask
        diagnostics = {
            "clipped": share(ratio > self.cap, rollout.mask),
            "believed": believed((ratio - 1).abs() / 2, rollout.mask),
        }
        return LossTerms(-weight * advantage * new.logp, weight, rollout.mask, diagnostics)
