"""PPO's clipped surrogate with a second clip where the advantage is negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from training.config import GRPOConfig
from training.divergence import per_token, ratio_of, share
from training.objectives.grpo import clipped_surrogate
from training.registry import objective
from training.types import LossTerms, MethodCard, Rollout, Scores


@objective
@dataclass(frozen=True)
class PPO:
    """-min(r A, clip(r, 1 - e, 1 + e) A), never above -c A where A < 0.

    Schulman et al. 2017, arXiv 1707.06347, eq. 7; the dual clip c: Ye et al. 2019, arXiv 1912.09729, eq. 5.
    Without the dual clip, and with a group's advantages, it is GRPO's token loss.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="ppo",
        title="Proximal policy optimisation",
        arxiv="1707.06347",
        sources=("PPO, arXiv 1707.06347, eq. 7", "dual clip: arXiv 1912.09729, eq. 5; verl, vanilla"),
        formula="-min(r A, clip(r, 1 - e, 1 + e) A); for A < 0 at most -c A",
        inert_when="one update per batch of rollouts: every ratio is 1 and nothing is clipped",
        claim_seed="ratio clipping is the wrong trust region for language models",
        claim_paper="the clip keeps several epochs on the same rollouts from moving the policy too far",
        needs=frozenset({"values"}),
        aggregation="token_mean",
        advantage="gae",
        believes="|r - 1| / 2",
    )
    clip: float = 0.2
    """Half-width of the interval of ratios."""
    dual_clip: float = 3.0
    """Ratio beyond which a token with negative advantage trains no more."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms, with the share of tokens that the second clip cut; shapes as in `LossTerms`."""
        terms = clipped_surrogate(new, rollout, advantage, self.clip, self.clip)
        advantage = per_token(advantage)
        cut = (advantage < 0) & (ratio_of(new.logp, rollout.sampler_logp) > self.dual_clip) & rollout.mask
        return LossTerms(
            per_token=torch.where(cut, -self.dual_clip * advantage, terms.per_token),
            weight=terms.weight * ~cut,
            keep=terms.keep & ~cut,
            diagnostics={**terms.diagnostics, "dual_clipped": share(cut, rollout.mask)},
        )
