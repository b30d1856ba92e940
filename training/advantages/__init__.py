"""One file per advantage: how much better a rollout, or a token of it, was than expected."""

from training.advantages.group import GroupAdvantage, group_advantage

__all__ = ["GroupAdvantage", "group_advantage"]
