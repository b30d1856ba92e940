"""How much more a rollout earned than its group, in units of the reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.advantages.group import constant
from training.registry import advantage
from training.types import Advantages, Rewarded


@advantage
@dataclass(frozen=True)
class GroupMeanAdvantage:
    """R - mean inside each group. Dr. GRPO, arXiv 2503.20783, eq. 3: no bias by difficulty."""

    name: ClassVar[str] = "group_mean"

    def __call__(self, rewarded: Rewarded) -> Advantages:
        """The advantages of some groups, [B]."""
        reward_PG = rewarded.total.reshape(-1, rewarded.group_size)
        dead = constant(reward_PG)
        std = reward_PG.std(dim=1).masked_fill(dead, 0.0)
        value_PG = (reward_PG - reward_PG.mean(dim=1, keepdim=True)).masked_fill(dead[:, None], 0.0)
        return Advantages(value_PG.reshape(-1), std, dead)
