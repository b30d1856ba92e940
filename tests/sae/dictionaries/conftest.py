"""Activations whose latents are known, and a pair of tiny models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sae.dictionaries import Crosscoder, Weights

RARE = 0.005


@dataclass(frozen=True)
class Planted:
    """Activations made of known latents."""

    x_NMD: Tensor
    rows_GMD: Tensor
    kinds: tuple[str, ...]

    def stream(self, epoch: int) -> Iterator[Tensor]:
        """Shuffled pieces, the same for the same epoch."""
        order = torch.randperm(len(self.x_NMD), generator=torch.Generator().manual_seed(epoch))
        return iter(self.x_NMD[order].split(1000))


def planted(tokens: int = 6000, rare: int = 0, *, width: int = 48, seed: int = 1234) -> Planted:
    """16 shared, 4 base-only, 4 tuned-only, 4 rotated latents at rate .06, `rare` tuned-only ones at .005.

    The seed differs from those of the dictionaries, whose first weights would be the planted rows otherwise.
    """
    g = torch.Generator().manual_seed(seed)
    counts = {"shared": 16, "base": 4, "tuned": 4, "rotated": 4, "rare": rare}
    kinds = tuple(kind for kind, count in counts.items() for _ in range(count))
    rows = torch.nn.functional.normalize(torch.randn(len(kinds), 1, width, generator=g), dim=-1).repeat(
        1, 2, 1
    )
    for j, kind in enumerate(kinds):
        if kind == "base":
            rows[j, 1] = 0
        if kind in ("tuned", "rare"):
            rows[j, 0] = 0
        if kind == "rotated":
            rows[j, 1] = torch.nn.functional.normalize(torch.randn(width, generator=g), dim=-1)
    rate = torch.tensor([RARE if kind == "rare" else 0.06 for kind in kinds])
    on = torch.rand(tokens, len(kinds), generator=g) < rate
    codes = on * (3 + 3 * torch.rand(on.shape, generator=g))
    noise = 0.02 * torch.randn(tokens, 2, width, generator=g)
    offset = torch.randn(1, 2, width, generator=g)
    return Planted(torch.einsum("ng,gmd->nmd", codes, rows) + noise + offset, rows, kinds)


def exact(width: int) -> Crosscoder:
    """A crosscoder that reconstructs everything: a latent for every coordinate, sign and model."""
    eye = torch.eye(2 * width).view(2 * width, 2, width)
    rows = torch.cat([eye, -eye])
    zeros = torch.zeros(4 * width)
    return Crosscoder(Weights(rows, zeros, zeros, rows, torch.zeros(2, width)))


def random_weights(latents: int = 12, models: int = 2, width: int = 8, seed: int = 0) -> Weights:
    """Weights without meaning."""
    g = torch.Generator().manual_seed(seed)
    shape = (latents, models, width)
    return Weights(
        torch.randn(shape, generator=g),
        torch.randn(latents, generator=g),
        torch.rand(latents, generator=g),
        torch.randn(shape, generator=g),
        torch.randn(models, width, generator=g),
    )


class TwoModels:
    """Two models of which only one may be open, as if they were one set of weights."""

    def __init__(self, base: Any, tuned: Any) -> None:
        self.models = {"base": base, "tuned": tuned}
        self.open = 0

    @contextmanager
    def model(self, side: str) -> Iterator[Any]:
        assert not self.open, "two sides open at once"
        self.open += 1
        try:
            yield self.models[side]
        finally:
            self.open -= 1


@pytest.fixture
def pair(tiny_model: Callable[..., Path]) -> TwoModels:
    from transformers import AutoModelForCausalLM

    from audit.pair.quiet import quiet

    with quiet():
        return TwoModels(*(AutoModelForCausalLM.from_pretrained(tiny_model(seed=s)).eval() for s in (0, 1)))


make_planted = pytest.fixture(name="make_planted", scope="session")(lambda: planted)
make_exact = pytest.fixture(name="make_exact", scope="session")(lambda: exact)
make_weights = pytest.fixture(name="make_weights", scope="session")(lambda: random_weights)
