"""Copying, or adding, a few digits with a transformer of some thousand weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.envs.exact import every_completion
from training.envs.types import Sizes


@dataclass(frozen=True)
class Copying:
    """A prompt of T digits is to be repeated; the reward is the share of right digits.

    All prompts share one transformer, so what is learned on one moves the others.
    """

    name: str = "copy"
    vocabulary: int = 5
    length: int = 3
    prompts: int = 8
    """Prompts used, out of all V^T."""
    threshold: float = 0.9
    learning_rates: tuple[float, ...] = (1e-3, 3e-3)

    @property
    def sizes(self) -> Sizes:
        """How large it is."""
        return Sizes(self.prompts, self.vocabulary, self.length)

    def policy(self, seed: int) -> nn.Module:
        """A transformer that has learned nothing."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return TinyTransformer(self.questions, self.sizes)

    def reward(self, prompt: Int[Tensor, " N"], tokens: Int[Tensor, "N T"]) -> Float[Tensor, " N"]:
        """Share of right digits."""
        return (tokens == self.questions[prompt]).float().mean(dim=1)

    @cached_property
    def questions(self) -> Int[Tensor, "P T"]:
        """The digits of each prompt."""
        every = every_completion(Sizes(1, self.vocabulary, self.length))
        return every[torch.randperm(len(every), generator=torch.Generator().manual_seed(0))[: self.prompts]]


class TinyTransformer(nn.Module):
    """Pre-norm transformer decoder on prompt and completion."""

    def __init__(self, questions: Int[Tensor, "P L"], sizes: Sizes, width: int = 32, layers: int = 1) -> None:
        """Random weights."""
        super().__init__()
        self.questions, self.sizes = questions, sizes
        places = questions.shape[1] + sizes.length
        self.digits = nn.Embedding(sizes.vocabulary, width)
        self.places = nn.Parameter(0.1 * torch.randn(places, width))
        self.layers = nn.ModuleList(Layer(width, heads=2) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, sizes.vocabulary)

    def forward(self, prompt: Int[Tensor, " N"], tokens: Int[Tensor, "N T"]) -> Float[Tensor, "N T V"]:
        """The logits of each place of the completion."""
        ids = torch.cat((self.questions[prompt], tokens), dim=1)[:, :-1]
        hidden = self.digits(ids) + self.places[: ids.shape[1]]
        for layer in self.layers:
            hidden = layer(hidden)
        logits: Tensor = self.head(self.norm(hidden[:, self.questions.shape[1] - 1 :]))
        return logits


class Layer(nn.Module):
    """Attention and a small perceptron, each added to the residual stream."""

    def __init__(self, width: int, heads: int) -> None:
        """Random weights."""
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, hidden: Float[Tensor, "N L D"]) -> Float[Tensor, "N L D"]:
        """The stream after the layer."""
        parts = self.qkv(self.first(hidden)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        read = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        hidden = hidden + self.out(read.transpose(1, 2).flatten(2))
        moved: Tensor = hidden + self.mlp(self.second(hidden))
        return moved
