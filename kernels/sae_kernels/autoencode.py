"""A sparse autoencoder's pass with gradients, once it is known which codes are kept.

Selection has no gradient, so training encodes first (`encode_topk`, `encode_batchtopk`), without recording,
and then calls `autoencode`, the differentiable function of the weights at the kept places:

    code_e = relu(<x_n, W_enc,j> + b_j) at its places e = (n, j),   x̂_n = sum_e code_e W_dec,j

The codes are not computed again. `torch.compile` takes it as one operation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sae_kernels.checks import need
from sae_kernels.decode import columns_of, rows_of, starts_of
from sae_kernels.library import differentiable, operation
from sae_kernels.types import Encoded, Kept


class Autoencoded(NamedTuple):
    """Both ends of the pass, with gradients."""

    values: Tensor
    """The codes, in the form they came in."""
    decoded: Tensor
    """[N, C], in the decoder's type."""


def autoencode(
    x: Tensor, encoder: Tensor, bias: Tensor, decoder: Tensor, codes: Encoded | Kept, *, path: str = "auto"
) -> Autoencoded:
    """Codes at the kept places and what is decoded from them.

    Args:
        x: [N, C'] as it was encoded; two streams side by side.
        encoder: [F, C'], a row per latent.
        bias: [F].
        decoder: [F, C].
        codes: from an encode of `x` with these weights.
        path: "auto", "fused" or "plain".

    Raises:
        KernelError: shapes do not fit.
    """
    latents = len(encoder)
    need(
        x.ndim == 2 and x.shape[1] == encoder.shape[1] and len(decoder) == latents == len(bias),
        f"x {tuple(x.shape)}, encoder {tuple(encoder.shape)}, decoder {tuple(decoder.shape)}",
        "x, encoder, bias, decoder",
        "pass weights with a row per latent",
    )
    out = _autoencode(
        x, encoder, bias, decoder, codes.values.detach(), columns_of(codes), starts_of(codes), path
    )
    return Autoencoded(*out)


def autoencode_plain(
    x: Tensor, encoder: Tensor, bias: Tensor, decoder: Tensor, codes: Encoded | Kept
) -> Autoencoded:
    """The plain twin of `autoencode`: dense codes, masked, with torch's own gradients."""
    columns = columns_of(codes)
    rows = rows_of(columns, starts_of(codes)).clamp(max=len(x) - 1).view(columns.shape)
    there = columns >= 0
    dense = (x.float() @ encoder.float().T + bias).relu()
    values = torch.where(there, dense[rows, columns.clamp(min=0)], 0)
    mask = torch.zeros_like(dense).index_put((rows[there], columns[there]), torch.ones_like(dense[0, 0]))
    return Autoencoded(values, ((dense * mask) @ decoder.float()).to(decoder.dtype))


def _run(
    x: Tensor,
    encoder: Tensor,
    bias: Tensor,
    decoder: Tensor,
    values: Tensor,
    columns: Tensor,
    starts: Tensor | None,
    path: str,
) -> tuple[Tensor, Tensor]:
    decoded = torch.ops.sae_kernels.decode(values, columns, starts, decoder, None, path)
    return values.clone(), decoded


def _fake(
    x: Tensor, encoder: Tensor, bias: Tensor, decoder: Tensor, values: Tensor, *others: Any
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(values), decoder.new_empty(len(x), decoder.shape[1])


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, encoder, bias, decoder, values, columns, starts, ctx.path = inputs
    ctx.save_for_backward(x, encoder, decoder, values, columns, starts)
    ctx.bias_type = bias.dtype


def _gradients(ctx: Any, to_values: Tensor | None, to_decoded: Tensor) -> tuple[Tensor | None, ...]:
    x, encoder, decoder, values, columns, starts = ctx.saved_tensors
    gates = (values > 0).float()
    to_decoder, to_encoder, to_bias, to_codes, _ = torch.ops.sae_kernels.backward(
        values, gates, None, to_values, columns, starts, to_decoded, x, decoder, ctx.path
    )
    to_x = None
    if ctx.needs_input_grad[0]:
        to_x = torch.ops.sae_kernels.decode(to_codes * gates, columns, starts, encoder, None, ctx.path).to(
            x.dtype
        )
    weights = to_encoder.to(encoder.dtype), to_bias.to(ctx.bias_type), to_decoder.to(decoder.dtype)
    return (to_x, *weights, None, None, None, None)


_autoencode = operation("autoencode", _run, _fake)
differentiable("autoencode", _gradients, _remember)
