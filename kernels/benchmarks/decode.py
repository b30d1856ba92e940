"""decode against the dense product of codes and decoder, and torch's embedding bag."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sae_kernels as sk
from shapes import Inputs, Shape
from torch.nn.functional import embedding_bag


def implementations(shape: Shape, given: Inputs) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and calls; the dense codes are there beforehand."""
    x, weight = given.pair(shape.streams)
    codes = sk.encode_topk(x, weight, given.bias, shape.k)
    dense = codes.dense(shape.latents).to(given.decoder.dtype)
    values, indices = codes.values.to(given.decoder.dtype), codes.indices.clamp(min=0)
    yield "sae_kernels", lambda: sk.decode(codes, given.decoder)
    yield "torch dense", lambda: dense @ given.decoder
    yield (
        "torch embedding_bag",
        lambda: embedding_bag(indices, given.decoder, mode="sum", per_sample_weights=values),
    )
