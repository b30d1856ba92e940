"""Generalised advantage estimation from a value head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.errors import TrainingError
from training.registry import advantage
from training.types import Advantages, Rewarded


@advantage
@dataclass(frozen=True)
class GAEAdvantage:
    """A_t = sum over l of (gamma lambda)^l delta_{t+l}, delta_t = r_t + gamma V_{t+1} - V_t.

    Schulman et al. 2015, arXiv 1506.02438, eq. 16. The reward falls on the last token; after it the value is
    0. A rollout needs no group, so none is dead.
    """

    name: ClassVar[str] = "gae"
    needs: ClassVar[frozenset[str]] = frozenset({"values"})
    gamma: float = 1.0
    """Discount per token."""
    lam: float = 0.95
    """Lambda: 0 trusts the value head alone, 1 the reward alone."""

    def __call__(self, rewarded: Rewarded) -> Advantages:
        """The advantages of the tokens [B, T], not normalised, and the value head's targets.

        Raises:
            TrainingError: there are no values.
        """
        if rewarded.values is None or rewarded.mask is None:
            raise TrainingError(
                "this advantage needs a value head", where="gae", fix="train with ppo, or choose group"
            )
        values, mask = rewarded.values.detach() * rewarded.mask, rewarded.mask
        value = generalised(rewarded.total, values, mask, self.gamma, self.lam)
        reward_PG = rewarded.total.reshape(-1, rewarded.group_size)
        std = reward_PG.std(dim=1, correction=1) if rewarded.group_size > 1 else reward_PG[:, 0] * 0
        return Advantages(value, std, torch.zeros_like(std, dtype=torch.bool), value + values)


def generalised(
    reward: Float[Tensor, " B"],
    values: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    gamma: float,
    lam: float,
) -> Float[Tensor, "B T"]:
    """GAE of rollouts padded on the right, whose reward falls on the last real token."""
    last = mask & ~torch.nn.functional.pad(mask[:, 1:], (0, 1))
    rewards = reward[:, None] * last
    following = torch.nn.functional.pad(values[:, 1:], (0, 1)) * ~last
    deltas = (rewards + gamma * following - values) * mask
    running, columns = torch.zeros_like(reward), []
    for place in reversed(range(mask.shape[1])):
        running = deltas[:, place] + gamma * lam * running
        columns.append(running)
    return torch.stack(columns[::-1], dim=1) * mask
