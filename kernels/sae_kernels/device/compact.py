"""The k largest per row of a stored matrix in one pass: the safe path, behind any matrix product.

The k-th largest of a row's first HEAD columns is a true lower bound of that of the whole row. What reaches it
is compacted, k * F / HEAD columns where they are alike; the k largest of those are the answer. A row in which
more than CAPACITY columns reach the bound is read again, once per bit of the answer: slow and exact.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,no-untyped-call,untyped-decorator"
# (Triton need not be there, has no types, and makes of a kernel's arguments what it will)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sae_kernels.device.encode import Problem, Selected
from sae_kernels.device.jit import INTERPRETED, choose, emit, finish, kth, on, power_of_two

ROWS = 1024
"""Rows of the matrix product that are stored at a time."""
BLOCK = 2048
KEPT = 32
"""Smallest capacity of a row, halved."""


@triton.jit
def score_bits(pre, bias, threshold, scale, column, F, WIDEN: tl.constexpr):
    """Bits of the scores at some columns of a row, 0 where inactive."""
    inside = column < F
    value = tl.load(pre + column, mask=inside, other=0.0)
    if bias is not None:
        value += tl.load(bias + column, mask=inside, other=0.0)
    if threshold is not None:  # written so that NaN stays
        value = tl.where(value <= tl.load(threshold + column, mask=inside, other=0.0), 0.0, value)
    if scale is not None:
        value *= tl.load(scale + column, mask=inside, other=0.0)
    bits = tl.maximum(value.to(tl.int32, bitcast=True), 0)
    if WIDEN:  # a CPU makes negative NaNs
        bits = tl.where(value != value, 0x7FC00000, bits)
    return bits


@triton.jit
def compact_kernel(
    pre, bias, threshold, scale, scratch, values, indices, overflows, F, k,
    HEAD: tl.constexpr, BLOCK: tl.constexpr, CAPACITY: tl.constexpr, K: tl.constexpr, KP: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """One row of pre [N, F]; scratch [N, CAPACITY]."""
    row = tl.program_id(0).to(tl.int64)
    pre += row * F
    values += row * K
    indices += row * K
    scratch += row * CAPACITY
    head = score_bits(pre, bias, threshold, scale, tl.arange(0, HEAD), F, WIDEN)
    least = tl.maximum(kth(head, k, 31), 1)
    taken = 0
    for first in range(0, F, BLOCK):
        column = first + tl.arange(0, BLOCK)
        bits = score_bits(pre, bias, threshold, scale, column, F, WIDEN)
        keep = bits >= least
        place = taken + tl.cumsum(keep.to(tl.int32), 0) - 1
        pair = (column.to(tl.int64) << 32) | bits.to(tl.int64)
        tl.store(scratch + place, pair, mask=keep & (place < CAPACITY))
        taken += tl.sum(keep.to(tl.int32))
    if taken <= CAPACITY:
        tl.debug_barrier()  # other threads of this program wrote what is read here
        at = tl.arange(0, CAPACITY)
        pair = tl.load(scratch + at, mask=at < taken, other=0)
        bits, column = (pair & 0x7FFFFFFF).to(tl.int32), (pair >> 32).to(tl.int32)
        found = emit(bits, column, choose(bits, column, k, least), 0, indices)
        finish(values, indices, found, scale, K, KP)
    else:
        tl.atomic_add(overflows, 1)
        answer = 0
        for step in range(31):
            trial = answer | (1 << (30 - step))
            reached = 0
            for first in range(0, F, BLOCK):
                column = first + tl.arange(0, BLOCK)
                bits = score_bits(pre, bias, threshold, scale, column, F, WIDEN)
                reached += tl.sum((bits >= trial).to(tl.int32))
            answer = tl.where(reached >= k, trial, answer)
        room = k
        for first in range(0, F, BLOCK):
            column = first + tl.arange(0, BLOCK)
            bits = score_bits(pre, bias, threshold, scale, column, F, WIDEN)
            room -= tl.sum((bits > answer).to(tl.int32))
        found = 0
        for first in range(0, F, BLOCK):
            column = first + tl.arange(0, BLOCK)
            bits = score_bits(pre, bias, threshold, scale, column, F, WIDEN)
            tied = (bits == answer) & (tl.cumsum((bits == answer).to(tl.int32), 0) <= room)
            room -= tl.sum(tied.to(tl.int32))
            found = emit(bits, column, (bits > answer) | tied, found, indices)
        finish(values, indices, found, scale, K, KP)


def encode_compact(problem: Problem, k: int, rows: int = ROWS) -> Selected:
    """A matrix product and a compaction, `rows` tokens at a time: holds [rows, F] in float32.

    `repairs` counts the rows that were read again.
    """
    tokens, latents = len(problem.a), problem.u.shape[1]
    device, rows = problem.a.device, max(1, min(rows, tokens))
    values = torch.empty(tokens, k, dtype=torch.float32, device=device)
    indices = torch.empty(tokens, k, dtype=torch.int64, device=device)
    overflows = torch.zeros((), dtype=torch.int32, device=device)
    head = power_of_two(min(max(latents // 16, 2 * k, 16), 4096))
    capacity = max(2 * KEPT, power_of_two(2 * k * triton.cdiv(latents, head)))
    scratch = torch.empty(rows, capacity, dtype=torch.int64, device=device)
    extras = [
        None if part is None else part.float().contiguous()
        for part in (problem.bias, problem.threshold, problem.scale)
    ]
    for first in range(0, tokens, rows):
        here = slice(first, first + rows)
        pre = _product(problem.a[here], problem.u)
        if problem.b is not None and problem.v is not None:
            pre += _product(problem.b[here], problem.v)
        with on(pre):
            compact_kernel[(len(pre),)](
                pre, *extras, scratch, values[here], indices[here], overflows, latents, k,
                HEAD=head, BLOCK=BLOCK, CAPACITY=capacity, K=k, KP=max(16, power_of_two(k)),
                WIDEN=INTERPRETED, num_warps=4,
            )  # fmt: skip
    return Selected(values, indices, overflows, torch.zeros_like(overflows))


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """In float32, which is what it was summed in."""
    if x.is_cuda and x.dtype != torch.float32:
        return torch.mm(x, weight, out_dtype=torch.float32)
    return torch.mm(x.float(), weight.float())
