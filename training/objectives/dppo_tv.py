"""DPPO's mask by the shift of the sampled token's probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from training.config import GRPOConfig
from training.divergence import believed, per_token, ratio_of, share, shift
from training.registry import objective
from training.types import LossTerms, MethodCard, Rollout, Scores


@objective
@dataclass(frozen=True)
class DPPOTV:
    """-sg(min(r, cap)) A log pi, where the token has not yet moved by more than delta in A's direction.

    keep = pi - mu <= delta where A > 0, pi - mu >= -delta where A < 0. Qi et al. 2026, arXiv 2602.04879,
    binary total variation; verl, loss dppo_tv.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="dppo_tv",
        title="Divergence proximal policy optimisation, binary total variation",
        arxiv="2602.04879",
        sources=("Rethinking the trust region in LLM RL, arXiv 2602.04879", "verl, loss dppo_tv"),
        formula="-sg(min(r, cap)) A log pi where sign(A) (pi - mu) <= delta, else 0",
        inert_when="one update per batch of rollouts: no probability has moved and nothing is masked",
        claim_seed="mends what is wrong with ratio clipping",
        claim_paper="more stable and better than GRPO: ratios punish rare tokens and overlook common ones",
        clashes="diffusion policy policy optimisation (robotics) is another DPPO",
        aliases=("dppo",),
        aggregation="token_mean",
        believes="|pi - mu|",
    )
    delta: float = 0.15
    """Largest shift of the sampled token's probability."""
    cap: float = 20.0
    """Largest weight."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms, with the share of masked tokens; shapes as in `LossTerms`."""
        advantage, moved = per_token(advantage), shift(new.logp, rollout.sampler_logp).detach()
        cut = torch.where(advantage > 0, moved > self.delta, moved < -self.delta)
        return masked_gradient(new, rollout, advantage, cut, moved.abs(), self.cap)


def masked_gradient(
    new: Scores, rollout: Rollout, advantage: Tensor, cut: Tensor, divergence: Tensor, cap: float
) -> LossTerms:
    """-sg(min(r, cap)) A log pi wherever `cut` is false; DPPO, arXiv 2602.04879."""
    keep = rollout.mask & ~cut
    weight = ratio_of(new.logp, rollout.sampler_logp).detach().clamp(max=cap) * keep
    diagnostics = {
        "masked": share(cut, rollout.mask),
        "believed": believed(divergence, rollout.mask),
    }
    return LossTerms(-weight * advantage * new.logp, weight, keep, diagnostics)
