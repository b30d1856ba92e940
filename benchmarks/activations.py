"""Activations that dictionaries are trained on in the benchmarks: of the embedded pair, or planted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor


class Data(NamedTuple):
    """Activations, in part kept from training."""

    train_NMD: Tensor
    held_out_NMD: Tensor

    def stream(self, epoch: int) -> Iterator[Tensor]:
        """Shuffled."""
        order = torch.randperm(len(self.train_NMD), generator=torch.Generator().manual_seed(epoch))
        return iter(torch.split(self.train_NMD[order], 2048))


def embedded(tokens: int, layer: int) -> Tensor:
    """Activations of the embedded pair on the corpus that an audit of it would take."""
    from audit.config import CompareConfig
    from audit.corpora import corpus
    from audit.pipeline import prepared
    from audit.progress import Silent
    from sae.harvest import harvest

    config = CompareConfig("demo", preset="quick")
    with tempfile.TemporaryDirectory() as cache, prepared(config, Silent()) as audit:
        documents = corpus(audit, Path(cache)).documents
        pools = harvest(audit.pair, documents, [layer])
        return torch.cat([pool.x_NLMD[:, 0].float() for pool in pools])[:tokens]


def synthetic(tokens: int, width: int = 576, latents: int = 2000, active: int = 30) -> Tensor:
    """Sparse mixtures of random directions, most of them common to both models."""
    g = torch.Generator().manual_seed(1234)
    rows = torch.randn(latents, 2, width, generator=g)
    rows[: latents * 9 // 10, 1] = rows[: latents * 9 // 10, 0]
    codes = (torch.rand(tokens, latents, generator=g) < active / latents) * torch.rand(
        tokens, latents, generator=g
    )
    return (codes @ rows.flatten(1)).view(tokens, 2, width)
