"""Sparse decoding: a token's few decoder rows, weighted and summed; no dense codes.

y_n = sum_k values[n, k] W_dec[indices[n, k]] + b
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from sae_kernels.checks import need
from sae_kernels.dispatch import runs_kernels
from sae_kernels.library import differentiable, operation
from sae_kernels.types import Encoded, Kept


def decode(
    codes: Encoded | Kept, weight: Tensor, bias: Tensor | None = None, *, path: str = "auto"
) -> Tensor:
    """What codes say of the activations.

    Args:
        codes: of N tokens.
        weight: [F, ...]: [F, D], or [F, M, D] for a crosscoder's M models.
        bias: what is decoded from no code, the weight's shape without F; or none.
        path: "auto", "fused" or "plain".

    Returns:
        [N, ...] in the weight's type. Differentiable in the codes, the weight and the bias.

    Raises:
        KernelError: shapes do not fit.
    """
    need(
        bias is None or bias.shape == weight.shape[1:],
        f"bias {None if bias is None else tuple(bias.shape)} and weight {tuple(weight.shape)}",
        "bias",
        "pass the shape of one decoded token",
    )
    flat = weight.flatten(1)
    rest = None if bias is None else bias.flatten()
    out: Tensor = _decode(codes.values, columns_of(codes), starts_of(codes), flat, rest, path)
    return out.view(len(out), *weight.shape[1:])


def decode_plain(codes: Encoded | Kept, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The plain twin of `decode`: dense codes times the decoder."""
    out: Tensor = torch.tensordot(codes.dense(len(weight)), weight.float(), dims=1)
    return (out if bias is None else out + bias).to(weight.dtype)


def columns_of(codes: Encoded | Kept) -> Tensor:
    """Latents of the entries."""
    return codes.indices if isinstance(codes, Encoded) else codes.columns


def starts_of(codes: Encoded | Kept) -> Tensor | None:
    """First entry of each token, where their number differs."""
    return codes.starts if isinstance(codes, Kept) else None


def rows_of(columns: Tensor, starts: Tensor | None) -> Tensor:
    """Token of each entry, flat; entries behind the last token's get the number of tokens."""
    if starts is None:
        tokens, kept = columns.shape
        return torch.arange(tokens, device=columns.device)[:, None].expand(tokens, kept).flatten()
    entry = torch.arange(len(columns), device=columns.device)
    return torch.searchsorted(starts[1:], entry, right=True)


def _run(
    values: Tensor, columns: Tensor, starts: Tensor | None, weight: Tensor, bias: Tensor | None, path: str
) -> Tensor:
    if runs_kernels(weight, path):
        from sae_kernels.device.gather import decode_gather

        return decode_gather(values, columns, starts, weight, bias)
    return _bag(values, columns, starts, weight, bias)


def _fake(
    values: Tensor, columns: Tensor, starts: Tensor | None, weight: Tensor, bias: Tensor | None, path: str
) -> Tensor:
    tokens = len(values) if starts is None else len(starts) - 1
    return weight.new_empty(tokens, weight.shape[1])


def _bag(
    values: Tensor, columns: Tensor, starts: Tensor | None, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """By torch's embedding bag, in float32; slots that are not filled cost nothing."""
    tokens = len(values) if starts is None else len(starts) - 1
    if not tokens or not columns.numel():
        return weight.new_zeros(tokens, weight.shape[1]) + (0 if bias is None else bias)
    if starts is None:
        live = columns >= 0
        ends = live.sum(1).cumsum(0)
        starts = torch.cat([ends.new_zeros(1), ends])
        columns, values = columns[live], values[live]
    out = embedding_bag(
        columns.clamp(min=0),
        weight.float(),
        starts,
        mode="sum",
        per_sample_weights=values.float(),
        include_last_offset=True,
    )
    return (out if bias is None else out + bias).to(weight.dtype)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    values, columns, starts, weight, bias, ctx.path = inputs
    ctx.save_for_backward(values, columns, starts, weight)
    ctx.bias_type = None if bias is None else bias.dtype


def _gradients(ctx: Any, to_decoded: Tensor) -> tuple[Tensor | None, ...]:
    values, columns, starts, weight = ctx.saved_tensors
    # The encoder's half of the pass has one column of zeros to read.
    nothing, closed = to_decoded.new_zeros(len(to_decoded), 1), torch.zeros_like(values)
    to_weight, _, _, to_values, _ = torch.ops.sae_kernels.backward(
        values, closed, None, None, columns, starts, to_decoded, nothing, weight, ctx.path
    )
    to_bias = None if ctx.bias_type is None else to_decoded.float().sum(0).to(ctx.bias_type)
    return to_values.to(values.dtype), None, None, to_weight.to(weight.dtype), to_bias, None


_decode = operation("decode", _run, _fake)
differentiable("decode", _gradients, _remember)
