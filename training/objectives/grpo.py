"""GRPO's clipped surrogate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from training.config import GRPOConfig
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
    )
    clip: float | None = None
    """Half-width of the interval of ratios; None: the run's `clip`."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms, with the share of clipped tokens as diagnostic; shapes as in `LossTerms`."""
        clip = config.clip if self.clip is None else self.clip
        return clipped_surrogate(new, rollout, advantage, clip, clip)


def clipped_surrogate(new: Scores, rollout: Rollout, advantage: Tensor, low: float, high: float) -> LossTerms:
    """-min(r A, clip(r, 1 - low, 1 + high) A). PPO, arXiv 1707.06347, eq. 7."""
    advantage = advantage if advantage.ndim == 2 else advantage[:, None]
    ratio = torch.exp(new.logp - rollout.sampler_logp)
    clipped = ratio.clamp(1 - low, 1 + high)
    per_token = -torch.minimum(ratio * advantage, clipped * advantage) * rollout.mask
    # Where the clipped branch is the smaller one the loss is constant in the policy: no gradient.
    cut = (advantage > 0) & (ratio > 1 + high) | (advantage < 0) & (ratio < 1 - low)
    keep = rollout.mask & ~cut
    tokens = rollout.mask.sum().clamp(min=1)
    return LossTerms(
        per_token=per_token,
        weight=ratio.detach() * keep,
        keep=keep,
        diagnostics={"clipped": ((cut & rollout.mask).sum() / tokens).item()},
    )
