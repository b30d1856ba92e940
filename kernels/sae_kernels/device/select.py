"""The k largest of each row's candidates, the certificate, and the repair of rows that fail it.

A tile kept its KEEP largest scores of a row. If the last of them is not among the row's k chosen, nothing
that the tile dropped can be: the row is certified. Otherwise the tile is saturated; it is computed again,
whole, and the row is chosen anew with all of the tile's scores. A row has at most k / KEEP saturated tiles,
since each of them holds KEEP of its k chosen, so what a repair needs is bounded. Rows are repaired in waves
of as many as scratch memory was given for, and the host never waits for how many there are.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,no-untyped-call,untyped-decorator"
# (Triton need not be there, has no types, and makes of a kernel's arguments what it will)

from __future__ import annotations

import triton
import triton.language as tl

from sae_kernels.device.candidates import tile_scores
from sae_kernels.device.jit import choose, emit, finish


@triton.jit
def _unpacked(raw, tile, place, BN: tl.constexpr, PACKED: tl.constexpr):
    """Bits and column of candidates."""
    if PACKED:
        return raw & ~(BN - 1), tile * BN + (BN - 1 - (raw & (BN - 1)))
    return raw, tile * BN + place


@triton.jit
def select_kernel(
    keys, places, values, indices, scale, floor, rank_of_row, row_of_rank, ordinal, tiles_of_rank, flags,
    items, counters, tiles, k,
    BM: tl.constexpr, BN: tl.constexpr, KEEP: tl.constexpr, K: tl.constexpr, KP: tl.constexpr,
    LENGTH: tl.constexpr, MOST: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """One row. counters: rows to repair, tiles to repair, rows of more than MOST saturated tiles.

    rank_of_row, row_of_rank [N]: number of a row among those to repair, -1 if certified; ordinal [N, tiles]:
    1 + number of a saturated tile within its row; tiles_of_rank [N, MOST]: those tiles, -1 behind them;
    flags [row blocks, tiles]: 0 at the start; items: blocks of tiles to compute again.
    """
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, LENGTH)
    tile, inside = at // KEEP, at < tiles * KEEP
    raw = tl.load(keys + row * tiles * KEEP + at, mask=inside, other=0)
    place = 0
    if not PACKED:
        place = tl.load(places + row * tiles * KEEP + at, mask=inside, other=0).to(tl.int32)
    bits, column = _unpacked(raw, tile, place, BN, PACKED)
    least = 1
    if floor is not None:
        least = tl.maximum(tl.load(floor), 1)
    chosen = choose(bits, column, k, least)
    taken = emit(bits, column, chosen, 0, indices + row * K)
    finish(values + row * K, indices + row * K, taken, scale, K, KP)
    last = chosen & (at % KEEP == KEEP - 1)
    saturated = tl.sum(last.to(tl.int32))
    rank = -1
    if saturated > MOST:
        tl.atomic_add(counters + 2, 1)
    elif saturated > 0:
        rank = tl.atomic_add(counters, 1)
        tl.store(row_of_rank + rank, row.to(tl.int32))
        number = tl.cumsum(last.to(tl.int32), 0)
        tl.store(
            ordinal + row * tiles + tile,
            tl.where(last, number, 0).to(tl.uint8),
            mask=inside & (at % KEEP == KEEP - 1),
        )
        mine = tiles_of_rank + rank.to(tl.int64) * MOST
        tl.store(mine + number - 1, tile, mask=last)
        behind = saturated + tl.arange(0, KP)
        tl.store(mine + behind, -1, mask=behind < MOST)
        block = (row // BM) * tiles + tile
        before = tl.atomic_add(flags + block, 1, mask=last)
        fresh = last & (before == 0)
        start = tl.atomic_add(counters + 1, tl.sum(fresh.to(tl.int32)))
        tl.store(items + start + tl.cumsum(fresh.to(tl.int32), 0) - 1, block.to(tl.int32), mask=fresh)
    tl.store(rank_of_row + row, rank)


@triton.jit
def _halves(tile, BM: tl.constexpr, BN: tl.constexpr):
    """Left and right half of a tile."""
    return tl.split(tl.permute(tl.reshape(tile, (BM, 2, BN // 2)), (0, 2, 1)))


@triton.jit
def _store_halves(out, tile, live, BM: tl.constexpr, BN: tl.constexpr):
    """Stores rows of a tile, one half after the other: whole, their addresses would not fit in registers."""
    left, right = _halves(tile, BM, BN)
    column = tl.arange(0, BN // 2)[None, :]
    tl.store(out[:, None] + column, left, mask=live[:, None])
    tl.store(out[:, None] + BN // 2 + column, right, mask=live[:, None])


@triton.jit
def recompute_kernel(
    x, w, x2, w2, bias, threshold, scale, rank_of_row, ordinal, items, counters, extra, wave,
    N, F, C, sx, swc, swf, sx2, swc2, swf2,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, MOST: tl.constexpr, WAVE: tl.constexpr,
    PACKED: tl.constexpr, TMA: tl.constexpr, ACROSS: tl.constexpr, RAGGED: tl.constexpr,
    WIDEN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Fills extra [WAVE, MOST, BN]: all scores of the saturated tiles of the rows of this wave."""
    tiles = tl.cdiv(F, BN)
    first = wave * WAVE
    if tl.load(counters) > first:
        for i in range(tl.program_id(0), tl.load(counters + 1), tl.num_programs(0)):
            item = tl.load(items + i)
            m, t = item // tiles, item % tiles
            rows = m * BM + tl.arange(0, BM)
            rank = tl.load(rank_of_row + rows, mask=rows < N, other=-1)
            number = tl.load(ordinal + rows.to(tl.int64) * tiles + t, mask=rank >= 0, other=0).to(tl.int32)
            live = (number > 0) & (rank >= first) & (rank < first + WAVE)
            if tl.sum(live.to(tl.int32)) > 0:
                bits = tile_scores(
                    x, w, x2, w2, bias, threshold, scale, m, t, N, F, C, sx, swc, swf, sx2, swc2, swf2,
                    BM, BN, BK, TMA, ACROSS, RAGGED, WIDEN, PRECISION,
                )  # fmt: skip
                if PACKED:
                    bits = bits & ~(BN - 1)
                out = ((rank - first) * MOST + number - 1) * BN
                left, right = _halves(bits, BM, BN)
                _store_halves(extra + out, left, live, BM, BN // 2)
                _store_halves(extra + out + BN // 2, right, live, BM, BN // 2)


@triton.jit
def reselect_kernel(
    keys, places, values, indices, scale, floor, row_of_rank, ordinal, tiles_of_rank, counters, extra, wave,
    tiles, k,
    BN: tl.constexpr, KEEP: tl.constexpr, K: tl.constexpr, KP: tl.constexpr, LENGTH: tl.constexpr,
    MOST: tl.constexpr, WAVE: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """One row to repair: candidates of its other tiles, then all scores of its saturated ones."""
    number = tl.program_id(0)
    rank = wave * WAVE + number
    if rank < tl.load(counters):
        row = tl.load(row_of_rank + rank).to(tl.int64)
        at = tl.arange(0, LENGTH)
        tile, old = at // KEEP, at < tiles * KEEP
        fine = tl.load(ordinal + row * tiles + tile, mask=old, other=1) == 0
        raw = tl.load(keys + row * tiles * KEEP + at, mask=fine, other=0)
        place = 0
        if not PACKED:
            place = tl.load(places + row * tiles * KEEP + at, mask=fine, other=0).to(tl.int32)
        bits, column = _unpacked(raw, tile, place, BN, PACKED)
        new = at - tiles * KEEP
        there = (new >= 0) & (new < MOST * BN)
        again = tl.load(tiles_of_rank + rank.to(tl.int64) * MOST + new // BN, mask=there, other=-1)
        fresh = tl.load(extra + number.to(tl.int64) * MOST * BN + new, mask=there & (again >= 0), other=0)
        bits = tl.where(there, fresh, bits)
        column = tl.where(there, again * BN + new % BN, column)
        least = 1
        if floor is not None:
            least = tl.maximum(tl.load(floor), 1)
        taken = emit(bits, column, choose(bits, column, k, least), 0, indices + row * K)
        finish(values + row * K, indices + row * K, taken, scale, K, KP)
