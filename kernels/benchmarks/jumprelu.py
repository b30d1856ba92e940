"""encode_threshold with thresholds that about k latents of a token pass, against the dense matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sae_kernels as sk
import torch
from shapes import Inputs, Shape


def implementations(shape: Shape, given: Inputs) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and calls."""
    x, weight = given.pair(shape.streams)
    some = given.x[:256].float() @ given.encoder.float().T + given.bias
    threshold = some.topk(shape.k, dim=1).values[:, -1].mean().expand(shape.latents).contiguous()

    def dense() -> Any:
        pre = torch.nn.functional.linear(given.x, given.encoder, given.bias.to(given.x.dtype))
        return pre * (pre > threshold)

    yield "sae_kernels", lambda: sk.encode_threshold(x, weight, given.bias, threshold, 2 * shape.k)
    yield "torch dense", dense
