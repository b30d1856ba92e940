"""A chain in which the first wrong token spoils everything after it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.envs.types import Sizes


@dataclass(frozen=True)
class Chain:
    """T tokens of which each earns 1/T only while all before it were right.

    The policy knows its place and whether it is still on the path, and all places share one vector of logits:
    what is learned at one place moves the others, and off the path nothing is ever earned, so that an early
    deviation costs what T - t late ones do.
    """

    name: str = "chain"
    vocabulary: int = 4
    length: int = 6
    threshold: float = 0.9
    learning_rates: tuple[float, ...] = (0.03, 0.1)

    @property
    def sizes(self) -> Sizes:
        """One prompt."""
        return Sizes(1, self.vocabulary, self.length)

    def policy(self, seed: int) -> nn.Module:
        """A table by place and state with a small random start, plus the shared vector."""
        return ChainPolicy(self, torch.Generator().manual_seed(seed))

    def reward(self, prompt: Int[Tensor, " N"], tokens: Int[Tensor, "N T"]) -> Float[Tensor, " N"]:
        """Share of tokens before the first wrong one."""
        return self.on_path(tokens).float().mean(dim=1)

    def on_path(self, tokens: Int[Tensor, "N T"]) -> Tensor:
        """True up to the first wrong token [N, T]."""
        right = tokens == torch.arange(self.length) % self.vocabulary
        return right.long().cumprod(dim=1).bool()


class ChainPolicy(nn.Module):
    """Logits by place and state, plus one vector for all."""

    def __init__(self, task: Chain, generator: torch.Generator) -> None:
        """A start near uniform."""
        super().__init__()
        self.task = task
        self.table = nn.Parameter(0.1 * torch.randn(task.length, 2, task.vocabulary, generator=generator))
        self.shared = nn.Parameter(torch.zeros(task.vocabulary))

    def forward(self, prompt: Int[Tensor, " N"], tokens: Int[Tensor, "N T"]) -> Float[Tensor, "N T V"]:
        """The logits of each place, given whether the tokens before it were right."""
        state = torch.nn.functional.pad(self.task.on_path(tokens)[:, :-1], (1, 0), value=True)
        return self.table[torch.arange(self.task.length), state.long()] + self.shared
