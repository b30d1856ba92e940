"""One pass over the matrix product that keeps, of each tile of each row, the few largest scores.

The product is never stored: from a tile of BM rows and BN columns in registers, KEEP rounds of a row maximum
leave KEEP int32 keys per row in descending order.

- PACKED: the key is the score's leading bits with the column in the low log2(BN) bits, reversed, so that of
  equal leading bits the lowest column is larger. A score keeps 16 (BN = 128) or 15 (BN = 256) bits of its
  mantissa: finer than bfloat16 and float16 have.
- else the key is all 31 bits of the score and the column goes to an array of its own.

`tile_scores` is also what repairs call, with the same constants: recomputed scores are the same bits.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,no-untyped-call,untyped-decorator"
# (Triton need not be there, has no types, and makes of a kernel's arguments what it will)

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def product(
    acc, x, w, m, t, N, F, C, sx, swc, swf,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    TMA: tl.constexpr, ACROSS: tl.constexpr, WIDEN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Adds x W to one tile; ACROSS: the latents' rows lie in memory, [F, C]."""
    rows, columns, depth = m * BM + tl.arange(0, BM), t * BN + tl.arange(0, BN), tl.arange(0, BK)
    for k in range(0, C, BK):
        if TMA:
            left = x.load([m * BM, k])
            right = w.load([t * BN, k]).T if ACROSS else w.load([k, t * BN])
        else:
            deep = k + depth
            left = tl.load(
                x + rows[:, None].to(tl.int64) * sx + deep[None, :],
                mask=(rows < N)[:, None] & (deep < C)[None, :],
                other=0.0,
            )
            right = tl.load(
                w + deep[:, None].to(tl.int64) * swc + columns[None, :].to(tl.int64) * swf,
                mask=(deep < C)[:, None] & (columns < F)[None, :],
                other=0.0,
            )
        if WIDEN:
            left, right = left.to(tl.float32), right.to(tl.float32)
        acc = tl.dot(left, right, acc, input_precision=PRECISION)
    return acc


@triton.jit
def tile_scores(
    x, w, x2, w2, bias, threshold, scale, m, t, N, F, C, sx, swc, swf, sx2, swc2, swf2,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, TMA: tl.constexpr, ACROSS: tl.constexpr,
    RAGGED: tl.constexpr, WIDEN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Bits of the scores of one tile, 0 where inactive."""
    acc = tl.zeros((BM, BN), tl.float32)
    acc = product(
        acc, x, w, m, t, N, F, C, sx, swc, swf, BM, BN, BK, TMA, ACROSS, WIDEN, PRECISION
    )  # fmt: skip
    if x2 is not None:
        acc = product(
            acc, x2, w2, m, t, N, F, C, sx2, swc2, swf2, BM, BN, BK, TMA, ACROSS, WIDEN, PRECISION
        )  # fmt: skip
    column = t * BN + tl.arange(0, BN)
    if bias is not None:
        acc += tl.load(bias + column, mask=column < F, other=0.0)[None, :]
    if threshold is not None:  # written so that NaN stays
        least = tl.load(threshold + column, mask=column < F, other=0.0)
        acc = tl.where(acc <= least[None, :], 0.0, acc)
    if scale is not None:
        acc *= tl.load(scale + column, mask=column < F, other=0.0)[None, :]
    if RAGGED:  # a row of NaN has NaN beyond the last column, too
        acc = tl.where((column < F)[None, :], acc, 0.0)
    bits = tl.maximum(acc.to(tl.int32, bitcast=True), 0)
    if WIDEN:  # a CPU makes negative NaNs
        bits = tl.where(acc != acc, 0x7FC00000, bits)
    return bits


@triton.jit
def candidates_kernel(
    x, w, x2, w2, bias, threshold, scale, keys, places, N, F, C, sx, swc, swf, sx2, swc2, swf2,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, KEEP: tl.constexpr, GROUP: tl.constexpr,
    PACKED: tl.constexpr, TMA: tl.constexpr, ACROSS: tl.constexpr, RAGGED: tl.constexpr,
    WIDEN: tl.constexpr, PRECISION: tl.constexpr, FLAT: tl.constexpr,
):  # fmt: skip
    """keys, places: [N, tiles, KEEP]; any number of programs shares the tiles, GROUP row blocks at a time."""
    blocks, tiles = tl.cdiv(N, BM), tl.cdiv(F, BN)
    for item in tl.range(tl.program_id(0), blocks * tiles, tl.num_programs(0), flatten=FLAT):
        first = item // (GROUP * tiles) * GROUP
        size = tl.minimum(blocks - first, GROUP)
        m = first + item % (GROUP * tiles) % size
        t = item % (GROUP * tiles) // size
        bits = tile_scores(
            x, w, x2, w2, bias, threshold, scale, m, t, N, F, C, sx, swc, swf, sx2, swc2, swf2,
            BM, BN, BK, TMA, ACROSS, RAGGED, WIDEN, PRECISION,
        )  # fmt: skip
        column = tl.arange(0, BN)[None, :]
        rows = m * BM + tl.arange(0, BM)
        out = (rows.to(tl.int64) * tiles + t) * KEEP
        if PACKED:
            key = (bits & ~(BN - 1)) | (BN - 1 - column)
            for i in tl.static_range(KEEP):
                best = tl.max(key, 1)
                tl.store(keys + out + i, tl.where(best < BN, 0, best), mask=rows < N)
                key = tl.where(key == best[:, None], 0, key)
        else:
            for i in tl.static_range(KEEP):
                best, at = tl.max(bits, 1, return_indices=True, return_indices_tie_break_left=True)
                tl.store(keys + out + i, best, mask=rows < N)
                tl.store(places + out + i, at.to(tl.uint8), mask=rows < N)
                bits = tl.where(column == at[:, None], 0, bits)
