"""What a controlled task is: prompts, a policy that can be read whole, and a reward of every completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class Sizes:
    """How large a task is; small enough that every completion can be listed."""

    prompts: int
    vocabulary: int
    """V."""
    length: int
    """T, tokens of every completion."""


class Task(Protocol):
    """A world in which the V^T completions of each prompt can be listed, so that nothing is estimated."""

    @property
    def name(self) -> str:
        """As commands call it."""
        ...

    @property
    def sizes(self) -> Sizes:
        """How large it is."""
        ...

    @property
    def threshold(self) -> float:
        """Mean reward at which the task counts as learned."""
        ...

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """Rates of Adam at which methods are compared; more than one, since a method may like another."""
        ...

    def policy(self, seed: int) -> nn.Module:
        """A fresh policy: prompt [N], tokens [N, T] -> logits [N, T, V]; place t sees the tokens before t."""
        ...

    def reward(self, prompt: Int[Tensor, " N"], tokens: Int[Tensor, "N T"]) -> Float[Tensor, " N"]:
        """Reward of completions, between 0 and 1."""
        ...
