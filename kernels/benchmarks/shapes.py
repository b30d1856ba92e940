"""Inputs of the benchmarks: shapes, activations, and weights of dictionaries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """What is encoded by what."""

    tokens: int
    width: int
    latents: int
    k: int
    streams: int = 1
    trained: str = ""
    """safetensors file with W_enc [C, F], b_enc and W_dec of a trained dictionary."""

    @property
    def name(self) -> str:
        """As in the tables."""
        wide = f"{self.streams}x{self.width}" if self.streams > 1 else str(self.width)
        return f"{self.tokens}x{wide}x{self.latents} k{self.k}" + (" trained" if self.trained else "")


DEVICE = (
    Shape(16384, 4096, 65536, 64),
    Shape(4096, 768, 24576, 32),
    Shape(8192, 2304, 16384, 64),
    Shape(8192, 4096, 65536, 64, streams=2),
)
CPU = (Shape(512, 256, 4096, 32), Shape(512, 256, 4096, 32, streams=2))


@dataclass(frozen=True)
class Inputs:
    """Tensors of one shape."""

    x: Tensor
    """[N, C], streams side by side."""
    encoder: Tensor
    """[F, C], a row per latent; `encoder.T` is [C, F] without a copy."""
    bias: Tensor
    decoder: Tensor
    """[F, C]."""
    norms: Tensor
    """[F]: sum over the streams of decoder norms."""

    def pair(self, streams: int) -> tuple[Any, Any]:
        """Activations and weights [C, F] as an encode takes them: one tensor each, or two."""
        if streams == 1:
            return self.x, self.encoder.T
        width = self.x.shape[1] // 2
        x = self.x[:, :width].contiguous(), self.x[:, width:].contiguous()
        return x, (self.encoder[:, :width].contiguous().T, self.encoder[:, width:].contiguous().T)


def inputs(shape: Shape, device: str, dtype: torch.dtype) -> Inputs:
    """Random weights with a small negative bias, as dictionaries have, or those of a trained one."""
    generator = torch.Generator(device).manual_seed(0)
    wide = shape.width * shape.streams

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, device=device)

    x = normal(shape.tokens, wide).to(dtype)
    if shape.trained:
        from safetensors.torch import load_file

        file = load_file(Path(shape.trained), device=device)
        encoder, bias, decoder = file["W_enc"].T.contiguous(), file["b_enc"].float(), file["W_dec"]
    else:
        encoder, bias = normal(shape.latents, wide) / wide**0.5, -0.1 * normal(shape.latents).abs()
        decoder = normal(shape.latents, wide)
        decoder /= decoder.norm(dim=1, keepdim=True)
    norms = decoder.float().view(len(decoder), shape.streams, -1).norm(dim=2).sum(1)
    return Inputs(x, encoder.to(dtype), bias, decoder.to(dtype).contiguous(), norms)
