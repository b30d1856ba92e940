"""How much better a rollout was than its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from training.registry import advantage
from training.types import Advantages, Rewarded

EPSILON = 1e-4
"""Added to the standard deviation, so that a tiny spread does not blow up."""


@advantage
@dataclass(frozen=True)
class GroupAdvantage:
    """(R - mean) / (std + 1e-4) inside each group. DeepSeekMath, arXiv 2402.03300, section 4.1.2."""

    name: ClassVar[str] = "group"

    def __call__(self, rewarded: Rewarded) -> Advantages:
        """The advantages of some groups, [B]."""
        return group_advantage(rewarded.total, rewarded.group_size)


def group_advantage(reward: Tensor, group_size: int) -> Advantages:
    """(R - mean) / (std + 1e-4) inside each group. DeepSeekMath, arXiv 2402.03300, section 4.1.2.

    Args:
        reward: [B], the rollouts of a group next to each other.
        group_size: rollouts per group, at least 2.
    """
    reward_PG = reward.reshape(-1, group_size)
    dead = constant(reward_PG)
    std = reward_PG.std(dim=1).masked_fill(dead, 0.0)
    value_PG = (reward_PG - reward_PG.mean(dim=1, keepdim=True)) / (std[:, None] + EPSILON)
    return Advantages(value_PG.masked_fill(dead[:, None], 0.0).reshape(-1), std, dead)


def constant(reward_PG: Tensor) -> Tensor:
    """Which groups got one and the same reward throughout [P].

    Compared, not computed: the mean of equal floats need not equal them, and 0 / 1e-4 must be exactly 0.
    """
    return (reward_PG == reward_PG[:, :1]).all(dim=1)
