"""What all kernels share: how they are interpreted, how a launch is sized, how a row's largest are chosen.

A score is handled as its float32 bits: for numbers above zero the order of the bits is the order of the
numbers, NaN (positive once an operation has made it) above infinity, and everything else is 0.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,no-untyped-call,untyped-decorator"
# (Triton need not be there, has no types, and makes of a kernel's arguments what it will)

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Triton runs as NumPy: bfloat16 must be widened after loading, since it is added and multiplied wrongly."""


def on(tensor: Tensor) -> AbstractContextManager[object]:
    """The device of a tensor as the current one."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def processors(tensor: Tensor) -> int:
    """Multiprocessors of the tensor's device; the interpreter has two."""
    if not tensor.is_cuda:
        return 2
    return int(torch.cuda.get_device_properties(tensor.device).multi_processor_count)


def power_of_two(number: int) -> int:
    """The next one."""
    return 1 << max(0, number - 1).bit_length()


@triton.jit
def kth(bits, k, TOP: tl.constexpr):
    """The k-th largest of some int32 >= 0, or 0 if fewer are above zero: one bit after the other."""
    least = 0
    for step in range(TOP):
        trial = least | (1 << (TOP - 1 - step))
        least = tl.where(tl.sum((bits >= trial).to(tl.int32)) >= k, trial, least)
    return least


@triton.jit
def choose(bits, column, k, floor):
    """Which entries are the k largest of those with bits >= floor > 0; of equal ones the lowest columns."""
    least = tl.maximum(kth(bits, k, 31), floor)
    above = bits > least
    tied = bits == least
    room = k - tl.sum(above.to(tl.int32))
    if tl.sum(tied.to(tl.int32)) > room:
        backwards = tl.where(tied, 0x7FFFFFFF - column, 0)
        tied = tied & (backwards >= kth(backwards, room, 31))
    return above | tied


@triton.jit
def emit(bits, column, chosen, taken, indices):
    """Writes chosen entries as column << 32 | bits behind the `taken` that are there; how many now are."""
    place = taken + tl.cumsum(chosen.to(tl.int32), 0) - 1
    pair = (column.to(tl.int64) << 32) | bits.to(tl.int64)
    tl.store(indices + place, pair, mask=chosen)
    return taken + tl.sum(chosen.to(tl.int32))


@triton.jit
def finish(values, indices, taken, scale, K: tl.constexpr, KP: tl.constexpr):
    """Turns what `emit` wrote into values and ascending indices, and (0, -1) behind them."""
    tl.debug_barrier()  # other threads of this program wrote what is read here
    slot = tl.arange(0, KP)
    pair = tl.load(indices + slot, mask=slot < taken, other=0x7FFFFFFFFFFFFFFF)
    tl.debug_barrier()
    pair = tl.sort(pair)
    live = slot < taken
    column = (pair >> 32).to(tl.int32)
    value = (pair & 0x7FFFFFFF).to(tl.int32).to(tl.float32, bitcast=True)
    if scale is not None:
        value = value / tl.load(scale + column, mask=live, other=1.0)
    tl.store(values + slot, tl.where(live, value, 0.0), mask=slot < K)
    tl.store(indices + slot, tl.where(live, column.to(tl.int64), -1), mask=slot < K)
