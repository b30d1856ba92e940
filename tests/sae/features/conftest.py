"""A small world with planted truth: sparse features that both models have, one has, or that are turned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from sae.dictionaries import Crosscoder, Weights
from sae.types import PairedActivations, TokenInfo

WIDTH, DOCUMENT = 48, 40


@dataclass
class World:
    """Directions of G planted features in both models, and tokens made of them."""

    shared: int = 16
    tuned_only: int = 4
    base_only: int = 0
    rotated: int = 0
    rate: float = 0.05
    """Of shared and rotated features."""
    rare: float = 0.005
    """Of features that one model has alone."""
    tokens: int = 8000
    noise: float = 0.02
    seed: int = 0
    rows_GMD: Tensor = field(init=False)
    code_NG: Tensor = field(init=False)
    x_NMD: Tensor = field(init=False)

    def __post_init__(self) -> None:
        draw = torch.Generator().manual_seed(self.seed)
        axes = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=draw))[0]
        count = self.shared + self.tuned_only + self.base_only + self.rotated
        rows = axes[:count, None].repeat(1, 2, 1)
        rows[self.of("tuned only"), 0] = 0
        rows[self.of("base only"), 1] = 0
        rows[self.of("rotated"), 1] = axes[count : count + self.rotated]
        rates = torch.full((count,), self.rate)
        rates[self.of("tuned only")] = rates[self.of("base only")] = self.rare
        on = torch.rand(self.tokens, count, generator=draw) < rates
        code = on * (1 + torch.rand(self.tokens, count, generator=draw))
        noise = self.noise * torch.randn(self.tokens, 2, WIDTH, generator=draw)
        self.rows_GMD, self.code_NG = rows, code
        self.x_NMD = torch.einsum("ng,gmd->nmd", code, rows) + noise + 0.5

    def of(self, kind: str) -> slice:
        """Numbers of the features of one kind."""
        sizes = {"shared": self.shared, "tuned only": self.tuned_only, "base only": self.base_only}
        start = 0
        for name, size in {**sizes, "rotated": self.rotated}.items():
            if name == kind:
                return slice(start, start + size)
            start += size
        raise KeyError(kind)

    def stream(self, piece: int = 3000) -> Iterator[PairedActivations]:
        """The tokens in order, cut anywhere."""
        number = torch.arange(self.tokens)
        for start in range(0, self.tokens, piece):
            part = number[start : start + piece]
            info = TokenInfo(part // DOCUMENT, part % DOCUMENT, part % 7, part % 5)
            yield PairedActivations(self.x_NMD[part, None], info)

    def dictionary(self, decoder_GMD: Tensor | None = None) -> Crosscoder:
        """A crosscoder that reads the planted codes off both models, with a decoder of choice."""
        flat = self.rows_GMD.flatten(1)
        encoder = torch.linalg.pinv(flat).T.reshape(self.rows_GMD.shape)
        bias = -0.5 * encoder.sum((1, 2))
        latents = len(encoder)
        decoder = self.rows_GMD if decoder_GMD is None else decoder_GMD
        return Crosscoder(
            Weights(encoder, bias, torch.full((latents,), 0.5), decoder, torch.full((2, WIDTH), 0.5))
        )


@pytest.fixture
def world() -> Callable[..., World]:
    """Maker of worlds: `world(tuned_only=4, rotated=1, ...)`."""
    return World
