"""JumpReLU in training: codes and thresholds from the few pre-activations that matter (arXiv 2407.14435).

    f = z H(z - t);  df/dz = H(z - t);  df/dt = -(t / e) K((z - t) / e);  dH/dt = -(1 / e) K((z - t) / e)

with H the step, K the rectangle of width 1 and e the bandwidth (equations 11 and 12 there). A threshold's
gradient therefore needs pre-activations within e / 2 of it, also below it: `encode_band` gives those above
t - e / 2, and everything outside has no gradient at all. `autoencode_jumprelu` is the pass from there on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sae_kernels.autoencode import Autoencoded
from sae_kernels.backward import backward
from sae_kernels.checks import need
from sae_kernels.decode import decode
from sae_kernels.encode import encode_topk, encode_topk_plain
from sae_kernels.types import Encoded, Streams


class Jumped(NamedTuple):
    """JumpReLU at some places, with gradients for pre-activations and thresholds."""

    values: Tensor
    """Codes."""
    active: Tensor
    """1 where there is a code, else 0; its sum is L0."""


def encode_band(
    x: Streams,
    weight: Streams,
    bias: Tensor,
    threshold: Tensor,
    bandwidth: float,
    capacity: int,
    *,
    path: str = "auto",
) -> Encoded:
    """Pre-activations above threshold - bandwidth / 2, the `capacity` highest above that line per token.

    Args:
        x: as in `encode_topk`.
        weight: as in `encode_topk`.
        bias: [F].
        threshold: [F].
        bandwidth: e, above 0.
        capacity: most entries of a token; `Encoded.full` counts tokens that may have had more.
        path: as in `encode_topk`.

    Returns:
        Values are pre-activations: they may be below the threshold, and below zero.
    """
    line = _line(threshold, bandwidth)
    return _raised(encode_topk(x, weight, bias - line, capacity, path=path), line)


def encode_band_plain(
    x: Streams, weight: Streams, bias: Tensor, threshold: Tensor, bandwidth: float, capacity: int
) -> Encoded:
    """The plain twin of `encode_band`."""
    line = _line(threshold, bandwidth)
    return _raised(encode_topk_plain(x, weight, bias - line, capacity), line)


def jumprelu(z: Tensor, threshold: Tensor, bandwidth: float) -> Jumped:
    """JumpReLU of pre-activations [E] or [N, K] with the thresholds of their places, same shape."""
    apply: Any = _JumpReLU.apply  # torch has no types for it
    return Jumped(*apply(z, threshold, bandwidth))


def autoencode_jumprelu(
    x: Tensor,
    encoder: Tensor,
    bias: Tensor,
    threshold: Tensor,
    decoder: Tensor,
    band: Encoded,
    bandwidth: float,
    *,
    path: str = "auto",
) -> Autoencoded:
    """Activity at the places of the band and what the codes decode to.

    Args:
        x: [N, C'] as it was encoded; it gets no gradient.
        encoder: [F, C'], a row per latent.
        bias: [F].
        threshold: [F].
        decoder: [F, C].
        band: of `encode_band` with these weights.
        bandwidth: e, above 0.
        path: "auto", "fused" or "plain".

    Returns:
        values: 1 where there is a code, else 0: their sum over a token is its L0, with a gradient for the
        threshold; decoded: [N, C]. The weights get gradients through the decoder alone.
    """
    apply: Any = _Pass.apply
    return Autoencoded(*apply(x, encoder, bias, threshold, decoder, band, bandwidth, path))


def autoencode_jumprelu_plain(
    x: Tensor,
    encoder: Tensor,
    bias: Tensor,
    threshold: Tensor,
    decoder: Tensor,
    band: Encoded,
    bandwidth: float,
) -> Autoencoded:
    """The plain twin of `autoencode_jumprelu`: dense codes, with `jumprelu`'s gradients."""
    pre = x @ encoder.T + bias
    all_ = jumprelu(pre, threshold.expand_as(pre), bandwidth)
    active = all_.active.gather(1, band.indices.clamp(min=0)) * (band.indices >= 0)
    return Autoencoded(active, all_.values @ decoder)


def _line(threshold: Tensor, bandwidth: float) -> Tensor:
    need(bandwidth > 0, f"bandwidth = {bandwidth}", "bandwidth", "choose a number above 0")
    return threshold.float() - bandwidth / 2


def _raised(found: Encoded, line: Tensor) -> Encoded:
    there = found.indices >= 0
    values = torch.where(there, found.values + line[found.indices.clamp(min=0)], 0)
    return found._replace(values=values)


class _JumpReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        active = (z > threshold).to(z.dtype)
        return z * active, active

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_values: Tensor, to_active: Tensor) -> tuple[Tensor | None, ...]:
        z, threshold = ctx.saved_tensors
        inside = ((z - threshold).abs() < ctx.bandwidth / 2).to(z.dtype) / ctx.bandwidth
        to_threshold = -inside * (threshold * to_values + to_active)
        return to_values * (z > threshold), to_threshold, None


class _Pass(torch.autograd.Function):
    """The codes' share of a threshold's gradient comes with the weights', feature by feature."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        x, encoder, _, threshold, decoder, band, ctx.bandwidth, ctx.path = inputs
        ctx.types = encoder.dtype, inputs[2].dtype
        limit = threshold.float()[band.indices.clamp(min=0)]
        active = ((band.values > limit) & (band.indices >= 0)).float()
        codes = band._replace(values=band.values * active)
        ctx.save_for_backward(x, threshold, decoder, band.values, band.indices, limit, active)
        return active, decode(codes, decoder, path=ctx.path)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_active: Tensor, to_decoded: Tensor) -> tuple[Tensor | None, ...]:
        x, threshold, decoder, z, indices, limit, active = ctx.saved_tensors
        inside = (((z - limit).abs() < ctx.bandwidth / 2) & (indices >= 0)).float() / ctx.bandwidth
        codes = Encoded(z * active, indices, active)
        found = backward(codes, to_decoded, x, decoder, gates=active, weights=-limit * inside, path=ctx.path)
        own = (-inside * to_active).flatten()
        place = torch.where(indices < 0, len(threshold), indices).flatten()
        counted = found.gated.new_zeros(len(threshold) + 1).index_add_(0, place, own)[:-1]
        weights = found.encoder.to(ctx.types[0]), found.bias.to(ctx.types[1])
        to_threshold = (found.gated + counted).to(threshold.dtype)
        return (None, *weights, to_threshold, found.decoder.to(decoder.dtype), None, None, None)
