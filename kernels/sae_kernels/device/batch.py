"""The k-th largest of very many scores: a radix selection by histograms, without a sort or a host sync."""
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,no-untyped-call,untyped-decorator"
# (Triton need not be there, has no types, and makes of a kernel's arguments what it will)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sae_kernels.device.jit import on

DIGITS = ((20, 11), (10, 10), (0, 10))
"""Lowest bit and number of bits of each pass, from the top: 31 bits in all."""
BLOCK = 4096


@triton.jit
def count_kernel(
    bits, counts, prefix, length, mask, SHIFT: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr
):
    """Fills counts [2 ** BITS]: how many scores above zero that start with `prefix` go on with each digit."""
    bins: tl.constexpr = 1 << BITS
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    score = tl.load(bits + at, mask=at < length, other=0) & mask
    here = (score > 0) & ((score >> (SHIFT + BITS)) == tl.load(prefix))
    digit = (score >> SHIFT) & (bins - 1)
    found = tl.histogram(tl.where(here, digit, 0), bins)
    strangers = BLOCK - tl.sum(here.to(tl.int32))
    bin_ = tl.arange(0, bins)
    found = tl.where(bin_ == 0, found - strangers, found)
    tl.atomic_add(counts + bin_, found, mask=found > 0)  # whole numbers: their order does not matter


def kth_bits(scores: Tensor, k: int, mask: int = -1) -> Tensor:
    """The k-th largest of int32 scores >= 0 after `& mask`, as int32 [1]; 0 if fewer are above zero."""
    flat = scores.reshape(-1)
    prefix = torch.zeros(1, dtype=torch.int32, device=flat.device)
    left = torch.full_like(prefix, k)
    enough = None
    for shift, bits in DIGITS:
        counts = torch.zeros(1 << bits, dtype=torch.int32, device=flat.device)
        with on(flat):
            count_kernel[(triton.cdiv(max(1, flat.numel()), BLOCK),)](
                flat, counts, prefix, flat.numel(), mask, SHIFT=shift, BITS=bits, BLOCK=BLOCK
            )
        at_least = counts.flip(0).cumsum(0, dtype=torch.int32).flip(0)
        enough = at_least[:1] >= k if enough is None else enough
        digit = ((at_least >= left).sum(dtype=torch.int32) - 1).clamp(min=0)[None]
        beyond = torch.cat([at_least, at_least.new_zeros(1)])
        left = left - beyond[digit.long() + 1]
        prefix = (prefix << bits) | digit
    return prefix if enough is None else torch.where(enough, prefix, 0)
