"""DPPO's mask by the binary KL of the sampled token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from training.config import GRPOConfig
from training.divergence import binary_kl, per_token, shift
from training.objectives.dppo_tv import masked_gradient
from training.registry import objective
from training.types import LossTerms, MethodCard, Rollout, Scores


@objective
@dataclass(frozen=True)
class DPPOKL:
    """-sg(min(r, cap)) A log pi, unless the binary KL passed delta and A pushes further.

    KL(mu || pi) of "this token or another": mu log(mu / pi) + (1 - mu) log((1 - mu) / (1 - pi)). Qi et al.
    2026, arXiv 2602.04879; verl, loss dppo_kl.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="dppo_kl",
        title="Divergence proximal policy optimisation, binary KL",
        arxiv="2602.04879",
        sources=("Rethinking the trust region in LLM RL, arXiv 2602.04879", "verl, loss dppo_kl"),
        formula="-sg(min(r, cap)) A log pi, 0 where KL2(mu || pi) > delta and sign(A) (pi - mu) > 0",
        inert_when="one update per batch of rollouts: no probability has moved and nothing is masked",
        claim_seed="mends what is wrong with ratio clipping",
        claim_paper="more stable and better than GRPO: ratios punish rare tokens and overlook common ones",
        clashes="diffusion policy policy optimisation (robotics) is another DPPO",
        aggregation="token_mean",
        believes="binary KL(mu || pi)",
    )
    delta: float = 0.05
    """Largest binary KL of the sampled token, nats."""
    cap: float = 20.0
    """Largest weight."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms, with the share of masked tokens; shapes as in `LossTerms`."""
        advantage, moved = per_token(advantage), shift(new.logp, rollout.sampler_logp).detach()
        divergence = binary_kl(new.logp, rollout.sampler_logp).detach()
        cut = (divergence > self.delta) & (advantage * moved > 0)
        return masked_gradient(new, rollout, advantage, cut, divergence, self.cap)
