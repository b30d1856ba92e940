"""Each reward channel compared on its own scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from training.advantages.group import constant, group_advantage
from training.errors import TrainingError
from training.registry import advantage
from training.types import Advantages, Rewarded


@advantage
@dataclass(frozen=True)
class ChannelAdvantage:
    """Sum over channels of weight x (R_k - mean) / (std + 1e-4), each normalised inside its group.

    GDPO's decoupled normalisation, as AdvGRPO uses it (arXiv 2606.09701; TRL's normalize_then_sum): a channel
    of small scale is heard as well as a loud one, and one without variance adds nothing.
    """

    name: ClassVar[str] = "per_channel"
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of a channel; 1 where none is given."""

    def __call__(self, rewarded: Rewarded) -> Advantages:
        """The advantages of some groups, [B]; a group is dead where every channel is.

        Raises:
            TrainingError: the reward has no channels, or a weight names none of them.
        """
        if not rewarded.channels:
            raise TrainingError("the reward has no channels", where="per_channel", fix="use group")
        if unknown := set(self.weights) - set(rewarded.channels):
            raise TrainingError(
                f"the reward has no channel {min(unknown)!r}",
                where="per_channel",
                fix=f"choose among: {', '.join(rewarded.channels)}",
            )
        found = {name: group_advantage(R, rewarded.group_size) for name, R in rewarded.channels.items()}
        parts = [self.weights.get(name, 1.0) * one.value for name, one in found.items()]
        dead = torch.stack([one.dead for one in found.values()]).all(dim=0)
        total_PG = rewarded.total.reshape(-1, rewarded.group_size)
        std = total_PG.std(dim=1).masked_fill(constant(total_PG), 0.0)
        return Advantages(torch.stack(parts).sum(dim=0), std, dead)
