"""What inputs must be, told before anything is launched."""

from __future__ import annotations

import torch
from torch import Tensor

from sae_kernels.errors import KernelError
from sae_kernels.types import Streams

TYPES = (torch.float32, torch.bfloat16, torch.float16)


def both(streams: Streams) -> tuple[Tensor, Tensor | None]:
    """One stream or two, as two arguments."""
    if isinstance(streams, Tensor):
        return streams, None
    if len(streams) != 2:
        raise KernelError(
            f"{len(streams)} streams instead of one or two",
            where="x or weight",
            fix="pass a tensor or a pair",
        )
    return streams


def check_encode(
    x: tuple[Tensor, Tensor | None],
    weight: tuple[Tensor, Tensor | None],
    bias: Tensor | None,
    threshold: Tensor | None,
    scale: Tensor | None,
    k: int,
) -> None:
    """Shapes, types and devices of an encode.

    Raises:
        KernelError: they do not fit.
    """
    if (x[1] is None) != (weight[1] is None):
        raise KernelError(
            "one of activations and weights is a pair, the other is not", where="x, weight", fix="pass pairs"
        )
    tokens, latents = len(x[0]), weight[0].shape[-1]
    for number, (a, w) in enumerate(zip(x, weight, strict=True)):
        if a is None or w is None:
            continue
        where = f"stream {number}"
        need(a.ndim == 2 and w.ndim == 2, f"shapes {tuple(a.shape)} and {tuple(w.shape)}", where, "two axes")
        need(a.shape[1] == w.shape[0], f"width {a.shape[1]} and {w.shape[0]}", where, "pass weights [C, F]")
        need(len(a) == tokens, f"{len(a)} tokens and {tokens}", where, "pass the same tokens of both")
        need(w.shape[1] == latents, f"{w.shape[1]} latents and {latents}", where, "use one dictionary")
        need(a.dtype in TYPES, f"type {a.dtype}", where, "use float32, bfloat16 or float16")
        need(a.dtype == w.dtype == x[0].dtype, f"types {a.dtype} and {w.dtype}", where, "convert one of them")
    for name, part in (("bias", bias), ("threshold", threshold), ("scale", scale)):
        need(
            part is None or part.shape == (latents,),
            f"shape {None if part is None else tuple(part.shape)} instead of ({latents},)",
            name,
            "pass one number per latent",
        )
    for name, part in (("weight", weight[0]), ("bias", bias), ("threshold", threshold), ("scale", scale)):
        need(part is None or part.device == x[0].device, "another device than x's", name, "move it there")
    need(1 <= k <= latents, f"k = {k}", "k", f"choose between 1 and {latents}")


def need(fine: bool, problem: str, where: str, fix: str) -> None:
    """Raises a `KernelError` unless it is fine."""
    if not fine:
        raise KernelError(problem, where=where, fix=fix)
