"""How much more a rollout earned than the others of its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.advantages.group import constant
from training.registry import advantage
from training.types import Advantages, Rewarded


@advantage
@dataclass(frozen=True)
class RLOOAdvantage:
    """R_i - mean of the others: an unbiased baseline. Ahmadian et al. 2024, arXiv 2402.14740, eq. 4."""

    name: ClassVar[str] = "rloo"

    def __call__(self, rewarded: Rewarded) -> Advantages:
        """The advantages of some groups, [B]."""
        size = rewarded.group_size
        reward_PG = rewarded.total.reshape(-1, size)
        dead = constant(reward_PG)
        others = (reward_PG.sum(dim=1, keepdim=True) - reward_PG) / (size - 1)
        value_PG = (reward_PG - others).masked_fill(dead[:, None], 0.0)
        return Advantages(value_PG.reshape(-1), reward_PG.std(dim=1).masked_fill(dead, 0.0), dead)
