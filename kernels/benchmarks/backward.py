"""backward (all gradients of an autoencoder pass) against three dense products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sae_kernels as sk
import torch
from shapes import Inputs, Shape


def implementations(shape: Shape, given: Inputs) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and calls; the dense codes are there beforehand."""
    x, weight = given.pair(shape.streams)
    codes = sk.encode_topk(x, weight, given.bias, shape.k)
    pull = torch.randn_like(given.x)
    dense = codes.dense(shape.latents).to(given.x.dtype)

    def products() -> Any:
        inner = (pull @ given.decoder.T) * (dense > 0)
        return dense.T @ pull, inner.T @ given.x, inner.sum(0)

    yield "sae_kernels", lambda: sk.backward(codes, pull, given.x, given.decoder)
    yield "torch dense", products
