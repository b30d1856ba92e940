"""encode_topk and what others do for the same: rivals by the same weights, in the same process."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import sae_kernels as sk
import torch
from shapes import Inputs, Shape
from torch import Tensor

Call = Callable[[], Any]


def implementations(shape: Shape, given: Inputs) -> Iterator[tuple[str, Call]]:
    """Names and calls."""
    x, weight = given.pair(shape.streams)
    scale = given.norms if shape.streams > 1 else None
    yield "sae_kernels", lambda: sk.encode_topk(x, weight, given.bias, shape.k, scale=scale)
    if given.x.is_cuda:
        yield (
            "sae_kernels chunked",
            lambda: sk.encode_topk(x, weight, given.bias, shape.k, scale=scale, path="chunked"),
        )
    yield "torch eager", lambda: eager(given, shape.k, scale)
    compiled = torch.compile(eager)
    yield "torch.compile", lambda: compiled(given, shape.k, scale)
    if shape.streams == 1:
        yield from _saelens(shape, given)
        yield from _sparsify(shape, given)
        yield from _flashinfer(shape, given)


def eager(given: Inputs, k: int, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    """The dense matrix, and torch.topk."""
    pre = torch.nn.functional.linear(given.x, given.encoder, given.bias.to(given.x.dtype)).relu()
    values, indices = torch.topk(pre if scale is None else pre * scale, k, sorted=False)
    return values, indices


def matrix_product(given: Inputs) -> Call:
    """The product alone, by the vendor's library: the floor of every encode."""
    return lambda: given.x @ given.encoder.T


def _saelens(shape: Shape, given: Inputs) -> Iterator[tuple[str, Call]]:
    if importlib.util.find_spec("sae_lens") is None:
        return
    from sae_lens import TopKSAE, TopKSAEConfig

    device = str(given.x.device)
    for name, dtype in (("SAELens", torch.float32), ("SAELens, bfloat16", torch.bfloat16)):
        config = TopKSAEConfig(
            d_in=shape.width,
            d_sae=shape.latents,
            k=shape.k,
            dtype=str(dtype).removeprefix("torch."),
            device=device,
        )
        sae: Any = TopKSAE(config)
        state = {"W_enc": given.encoder.T, "W_dec": given.decoder, "b_enc": given.bias}
        sae.load_state_dict({key: value.to(dtype) for key, value in state.items()}, strict=False)
        x = given.x.to(dtype)
        yield name, lambda sae=sae, x=x: sae.encode(x)


def _sparsify(shape: Shape, given: Inputs) -> Iterator[tuple[str, Call]]:
    if importlib.util.find_spec("sparsify") is None:
        return
    from sparsify import SparseCoder, SparseCoderConfig

    config = SparseCoderConfig(num_latents=shape.latents, k=shape.k)
    coder: Any = SparseCoder(shape.width, config, device=given.x.device, dtype=given.x.dtype)
    coder.encoder.weight.data.copy_(given.encoder)
    coder.encoder.bias.data.copy_(given.bias)
    yield "sparsify", lambda: coder.encode(given.x)


def _flashinfer(shape: Shape, given: Inputs) -> Iterator[tuple[str, Call]]:
    if not given.x.is_cuda or importlib.util.find_spec("flashinfer") is None:
        return
    import flashinfer

    def call() -> Any:
        return flashinfer.top_k(
            torch.nn.functional.linear(given.x, given.encoder, given.bias.to(given.x.dtype)), shape.k
        )

    yield "flashinfer top_k", call
