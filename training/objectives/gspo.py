"""GSPO's ratio of whole rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from training.config import GRPOConfig
from training.divergence import LOG_RATIO_LIMIT, believed, per_token, share
from training.registry import objective
from training.types import LossTerms, MethodCard, Rollout, Scores


@objective
@dataclass(frozen=True)
class GSPO:
    """The clipped surrogate on one ratio per rollout, the geometric mean of its tokens' ratios.

    With s = exp(mean over tokens of log r): -min(s_t A, clip(s_t, 1 - low, 1 + high) A), where
    s_t = sg(s) pi / sg(pi) has the value of s and the gradient of the token alone. Zheng et al. 2025, arXiv
    2507.18071, eq. 5-7 and 13-14; with one advantage per rollout both forms have one gradient.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="gspo",
        title="Group sequence policy optimisation",
        arxiv="2507.18071",
        sources=("GSPO, arXiv 2507.18071, eq. 5-7, 13-14",),
        formula="-min(s A, clip(s, 1 - low, 1 + high) A), s = exp(mean log r)",
        inert_when="one update per batch of rollouts: every ratio is 1 and nothing is clipped",
        claim_paper="clips far more tokens than GRPO and still trains more efficiently and more stably",
        clashes="the geometric mean hides how far a long rollout moved: s is the T-th root of its ratio",
        believes="|s - 1| / 2",
    )
    low: float = 3e-4
    """How far below 1 the rollout's ratio trains."""
    high: float = 4e-4
    """How far above 1."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms, with the share of clipped tokens; shapes as in `LossTerms`."""
        mask, advantage = rollout.mask, per_token(advantage)
        log_ratio = ((new.logp - rollout.sampler_logp) * mask).detach()
        mean = log_ratio.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        value = torch.exp(mean.clamp(max=LOG_RATIO_LIMIT))
        ratio = value * torch.exp(new.logp - new.logp.detach())
        clipped = ratio.clamp(1 - self.low, 1 + self.high)
        loss = -torch.minimum(ratio * advantage, clipped * advantage) * mask
        cut = (advantage > 0) & (value > 1 + self.high) | (advantage < 0) & (value < 1 - self.low)
        keep = mask & ~cut
        first = mask.cumsum(dim=1) == 1  # one ratio per rollout: counted once
        diagnostics = {"clipped": share(cut, mask), "believed": believed((value - 1).abs() / 2 * first, mask)}
        return LossTerms(loss, value * keep, keep, diagnostics)
