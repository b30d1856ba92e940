"""One token out of a long-tailed vocabulary; the best one is rare."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.envs.types import Sizes


@dataclass(frozen=True)
class LongTailBandit:
    """V tokens with probabilities falling as a power of their rank, as a vocabulary's do.

    Common tokens earn little, one of them (the decoy) half, and one in the tail everything: to find it a
    policy must let rare tokens rise, and to keep it must not run into the decoy first.
    """

    name: str = "bandit"
    vocabulary: int = 500
    best_rank: int = 20
    """Rank of the token that earns 1."""
    exponent: float = 1.0
    """Of the power law."""
    threshold: float = 0.9
    learning_rates: tuple[float, ...] = (0.03, 0.1)

    @property
    def sizes(self) -> Sizes:
        """One prompt, one token."""
        return Sizes(1, self.vocabulary, 1)

    def policy(self, seed: int) -> nn.Module:
        """One logit per token; the start is the same for every seed, so `seed` has no say."""
        return Table(-self.exponent * torch.arange(1, self.vocabulary + 1).log()[None, None])

    def reward(self, prompt: Int[Tensor, " N"], tokens: Int[Tensor, "N T"]) -> Float[Tensor, " N"]:
        """What the tokens earn."""
        return self._worth[tokens[:, 0]]

    @cached_property
    def _worth(self) -> Tensor:
        worth = 0.3 * torch.rand(self.vocabulary, generator=torch.Generator().manual_seed(0))
        worth[1], worth[self.best_rank] = 0.5, 1.0
        return worth


class Table(nn.Module):
    """A policy without memory: one row of logits per place and prompt."""

    def __init__(self, start: Float[Tensor, "P T V"]) -> None:
        """The logits to start from."""
        super().__init__()
        self.logits = nn.Parameter(start.clone())

    def forward(self, prompt: Int[Tensor, " N"], tokens: Int[Tensor, "N T"]) -> Float[Tensor, "N T V"]:
        """The logits of each place."""
        return self.logits[prompt]
