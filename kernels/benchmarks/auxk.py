"""encode_dead with a twentieth of the latents dead, against all of them masked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sae_kernels as sk
import torch
from shapes import Inputs, Shape


def implementations(shape: Shape, given: Inputs) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and calls."""
    dead = torch.arange(0, shape.latents, 20, device=given.x.device)
    alive = torch.ones(shape.latents, dtype=torch.bool, device=given.x.device).index_fill(0, dead, False)
    k = min(shape.width // 2, 512, len(dead))

    def masked() -> Any:
        pre = torch.nn.functional.linear(given.x, given.encoder, given.bias.to(given.x.dtype)).relu()
        return torch.topk(pre.masked_fill(alive, 0), k, sorted=False)

    yield "sae_kernels", lambda: sk.encode_dead(given.x, given.encoder, given.bias, dead, k)
    yield "torch masked", masked
