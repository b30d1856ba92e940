"""Sparse decode: each token's few decoder rows, weighted and summed."""
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,no-untyped-call,untyped-decorator"
# (Triton need not be there, has no types, and makes of a kernel's arguments what it will)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sae_kernels.device.jit import INTERPRETED, on, power_of_two


@triton.jit
def decode_kernel(
    values, columns, starts, weight, bias, out, K, WIDTH, stride,
    BE: tl.constexpr, BW: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """One row of out [N, WIDTH], BW of it; entries n K to (n + 1) K, or starts[n] to starts[n + 1]."""
    row = tl.program_id(0).to(tl.int64)
    wide = tl.program_id(1) * BW + tl.arange(0, BW)
    inside = wide < WIDTH
    first, end = row * K, row * K + K
    if starts is not None:
        first, end = tl.load(starts + row), tl.load(starts + row + 1)
    acc = tl.zeros((BW,), tl.float32)
    for e in range(first, end, BE):
        at = e + tl.arange(0, BE)
        column = tl.load(columns + at, mask=at < end, other=-1)
        value = tl.load(values + at, mask=column >= 0, other=0.0).to(tl.float32)
        rows = tl.load(
            weight + column[:, None] * stride + wide[None, :],
            mask=(column >= 0)[:, None] & inside[None, :],
            other=0.0,
        )
        acc += tl.sum(value[:, None] * rows.to(tl.float32), 0)
    if bias is not None:
        beyond = tl.load(bias + wide, mask=inside, other=0.0)
        acc += beyond.to(tl.float32)
    if WIDEN:
        tl.store(out + row * WIDTH + wide, acc, mask=inside)
    else:
        tl.store(out + row * WIDTH + wide, acc.to(out.dtype.element_ty), mask=inside)


def decode_gather(
    values: Tensor, columns: Tensor, starts: Tensor | None, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """[N, WIDTH] in the weight's type, from weight [F, WIDTH]."""
    weight = weight if weight.stride(1) == 1 else weight.contiguous()
    tokens = len(values) if starts is None else len(starts) - 1
    width = weight.shape[1]
    # The interpreter rounds to bfloat16 by cutting off: it stores float32, and torch rounds.
    out = torch.empty(
        tokens, width, dtype=torch.float32 if INTERPRETED else weight.dtype, device=weight.device
    )
    block = min(1024, power_of_two(width))
    kept = values.shape[1] if starts is None else 0
    with on(weight):
        decode_kernel[(tokens, triton.cdiv(width, block))](
            values.contiguous(), columns.contiguous(), starts, weight, bias, out, kept, width,
            weight.stride(0), BE=4, BW=block, WIDEN=INTERPRETED, num_warps=4,
        )  # fmt: skip
    return out.to(weight.dtype)
