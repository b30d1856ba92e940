"""encode_batchtopk against the dense matrix and one torch.topk over all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sae_kernels as sk
import torch
from shapes import Inputs, Shape


def implementations(shape: Shape, given: Inputs) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and calls."""
    x, weight = given.pair(shape.streams)
    scale = given.norms if shape.streams > 1 else None
    count = shape.k * shape.tokens

    def dense() -> Any:
        pre = torch.nn.functional.linear(given.x, given.encoder, given.bias.to(given.x.dtype)).relu()
        return torch.topk((pre if scale is None else pre * scale).flatten(), count, sorted=False)

    yield "sae_kernels", lambda: sk.encode_batchtopk(x, weight, given.bias, count, scale=scale)
    yield "torch eager", dense
