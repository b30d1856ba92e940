"""GRPO's clipped surrogate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from training.config import GRPOConfig
from training.divergence import believed, in_range, per_token, ratio_of, share
from training.registry import objective
from training.types import LossTerms, MethodCard, Rollout, Scores


@objective
@dataclass(frozen=True)
class GRPO:
    """The clipped surrogate of PPO, fed with advantages from the group.

    With r = pi(token) / mu(token), A the rollout's advantage and e the clip:
    loss = -min(r A, clip(r, 1 - e, 1 + e) A). Sources: DeepSeekMath, arXiv 2402.03300, eq. 3 (its KL term is
    not here: the loop adds it, exact over the vocabulary); PPO, arXiv 1707.06347, eq. 7.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="grpo",
        title="Group relative policy optimisation",
        arxiv="2402.03300",
        sources=("DeepSeekMath, arXiv 2402.03300, eq. 3", "PPO, arXiv 1707.06347, eq. 7"),
        formula="-min(r A, clip(r, 1 - e, 1 + e) A)",
        inert_when="one update per batch of rollouts: every ratio is 1 and nothing is clipped",
        claim_seed="moving a token from .45 to .55 stays well inside a clip of 0.2",
        claim_paper="a group's mean replaces the value network; 51.7 % on MATH with a 7B model",
        believes="|r - 1| / 2",
    )
    clip: float | None = None
    """Half-width of the interval of ratios; None: the run's `clip`."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms, with the share of clipped tokens as diagnostic; shapes as in `LossTerms`."""
        clip = config.clip if self.clip is None else self.clip
        return clipped_surrogate(new, rollout, advantage, clip, clip)


def clipped_surrogate(new: Scores, rollout: Rollout, advantage: Tensor, low: float, high: float) -> LossTerms:
    """-min(r A, clip(r, 1 - low, 1 + high) A). PPO, arXiv 1707.06347, eq. 7."""
    ratio, advantage = ratio_of(new.logp, rollout.sampler_logp), per_token(advantage)
    clipped = ratio.clamp(1 - low, 1 + high)
    loss = -torch.minimum(ratio * advantage, clipped * advantage) * rollout.mask
    # Where the clipped branch is the smaller one the loss is constant in the policy: no gradient.
    cut = (advantage > 0) & (ratio > 1 + high) | (advantage < 0) & (ratio < 1 - low)
    keep = rollout.mask & ~cut & in_range(new.logp, rollout.sampler_logp)
    diagnostics = {
        "clipped": share(cut, rollout.mask),
        "believed": believed((ratio - 1).abs() / 2, rollout.mask),
    }
    return LossTerms(loss, ratio.detach() * keep, keep, diagnostics)
