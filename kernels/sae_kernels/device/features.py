"""Gradients of a sparse autoencoder pass, feature by feature.

A latent's entries are read together (the kept codes sorted by latent): from the rows of dL/dx̂ and x of its
tokens come its rows of dL/dW_dec and dL/dW_enc, its dL/db and the dL/dcode of its entries, all in one pass.
Each row is written once, by one program, so there are no atomics and results repeat to the bit. The entries
of a frequent latent are cut into pieces, whose sums a second kernel adds in order.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,no-untyped-call,untyped-decorator"
# (Triton need not be there, has no types, and makes of a kernel's arguments what it will)

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from sae_kernels.device.jit import INTERPRETED, on, power_of_two
from sae_kernels.types import Gradients

PIECE = 512
"""Entries of a latent that one program takes."""


@triton.jit
def features_kernel(
    codes, gates, weights, to_codes, order, rows, starts, piece_starts, feature_of, slots,
    to_decoded, x, decoder,
    out_decoder, out_encoder, out_bias, out_gated, out_codes,
    part_decoder, part_encoder, part_bias, part_gated, F, X, Y,
    PIECE: tl.constexpr, BE: tl.constexpr, BX: tl.constexpr, BY: tl.constexpr,
):  # fmt: skip
    """One piece of a latent. Entries are addressed through `order`, which sorts them by latent.

    codes, gates, weights, to_codes, out_codes [E]; rows [E]; starts [F + 1]; piece_starts [F + 1];
    feature_of [pieces], F where there is none; slots [F]: first row of `part_*`, -1 for latents of one piece.
    """
    feature = tl.load(feature_of + tl.program_id(0)).to(tl.int64)
    if feature < F:
        number = tl.program_id(0) - tl.load(piece_starts + feature)
        first = tl.load(starts + feature) + number * PIECE
        end = tl.minimum(tl.load(starts + feature + 1), first + PIECE)
        i, j = tl.arange(0, BX), tl.arange(0, BY)
        direction = tl.load(decoder + feature * Y + j, mask=j < Y, other=0.0).to(tl.float32)
        sum_decoder, sum_encoder = tl.zeros((BY,), tl.float32), tl.zeros((BX,), tl.float32)
        sum_bias, sum_gated = tl.zeros((BE,), tl.float32), tl.zeros((BE,), tl.float32)
        for e in range(first, end, BE):
            at = e + tl.arange(0, BE)
            live = at < end
            entry = tl.load(order + at, mask=live, other=0)
            row = tl.load(rows + at, mask=live, other=0)
            pull = tl.load(
                to_decoded + row[:, None] * Y + j[None, :], mask=live[:, None] & (j < Y)[None, :], other=0.0
            ).to(tl.float32)
            inner = tl.sum(pull * direction[None, :], 1)
            if to_codes is not None:
                inner += tl.load(to_codes + entry, mask=live, other=0.0)
            tl.store(out_codes + entry, inner, mask=live)
            sum_decoder += tl.sum(tl.load(codes + entry, mask=live, other=0.0)[:, None] * pull, 0)
            gated = inner * tl.load(gates + entry, mask=live, other=0.0)
            here = tl.load(
                x + row[:, None] * X + i[None, :], mask=live[:, None] & (i < X)[None, :], other=0.0
            ).to(tl.float32)
            sum_encoder += tl.sum(gated[:, None] * here, 0)
            sum_bias += gated
            if weights is not None:
                sum_gated += inner * tl.load(weights + entry, mask=live, other=0.0)
        slot = tl.load(slots + feature).to(tl.int64)
        if slot < 0:
            tl.store(out_decoder + feature * Y + j, sum_decoder, mask=j < Y)
            tl.store(out_encoder + feature * X + i, sum_encoder, mask=i < X)
            tl.store(out_bias + feature, tl.sum(sum_bias))
            tl.store(out_gated + feature, tl.sum(sum_gated))
        else:
            slot += number
            tl.store(part_decoder + slot * Y + j, sum_decoder, mask=j < Y)
            tl.store(part_encoder + slot * X + i, sum_encoder, mask=i < X)
            tl.store(part_bias + slot, tl.sum(sum_bias))
            tl.store(part_gated + slot, tl.sum(sum_gated))


@triton.jit
def pieces_kernel(
    piece_starts, slots, out_decoder, out_encoder, out_bias, out_gated,
    part_decoder, part_encoder, part_bias, part_gated, X, Y, BX: tl.constexpr, BY: tl.constexpr,
):  # fmt: skip
    """Adds the pieces of one latent, if there are several."""
    feature = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + feature).to(tl.int64)
    if slot >= 0:
        i, j = tl.arange(0, BX), tl.arange(0, BY)
        sum_decoder, sum_encoder = tl.zeros((BY,), tl.float32), tl.zeros((BX,), tl.float32)
        sum_bias, sum_gated = 0.0, 0.0
        pieces = tl.load(piece_starts + feature + 1) - tl.load(piece_starts + feature)
        for piece in range(pieces):
            at = slot + piece
            sum_decoder += tl.load(part_decoder + at * Y + j, mask=j < Y, other=0.0)
            sum_encoder += tl.load(part_encoder + at * X + i, mask=i < X, other=0.0)
            sum_bias += tl.load(part_bias + at)
            sum_gated += tl.load(part_gated + at)
        tl.store(out_decoder + feature * Y + j, sum_decoder, mask=j < Y)
        tl.store(out_encoder + feature * X + i, sum_encoder, mask=i < X)
        tl.store(out_bias + feature, sum_bias)
        tl.store(out_gated + feature, sum_gated)


class Plan(NamedTuple):
    """Who reads which entries."""

    order: Tensor
    """[E]: entries by latent."""
    rows: Tensor
    """[E]: their tokens, in that order."""
    starts: Tensor
    """[F + 1]."""
    piece_starts: Tensor
    """[F + 1]."""
    feature_of: Tensor
    """[most pieces there can be]: F where there is none."""
    slots: Tensor
    """[F]: where a latent of several pieces puts its sums; -1: it has one piece."""
    room: int
    """Most slots there can be."""


def planned(columns: Tensor, rows: Tensor, latents: int, piece: int = PIECE) -> Plan:
    """Sorts entries by latent, those of no latent (-1) to the end, and cuts them; without a host sync."""
    key = torch.where(columns < 0, latents, columns)
    key, order = torch.sort(key, stable=True)
    edges = torch.arange(latents + 1, device=key.device)
    starts = torch.searchsorted(key, edges)
    pieces = ((starts.diff() + piece - 1) // piece).clamp(min=1)
    piece_starts = torch.cat([starts.new_zeros(1), pieces.cumsum(0)])
    most = torch.arange(latents + len(columns) // piece, device=key.device)
    feature_of = torch.searchsorted(piece_starts[1:], most, right=True)
    several = torch.where(pieces > 1, pieces, 0)
    slots = torch.where(pieces > 1, several.cumsum(0) - several, -1)
    room = max(1, 2 * len(columns) // piece)
    return Plan(order, rows[order].clamp(min=0), starts, piece_starts, feature_of, slots, room)


def feature_gradients(
    codes: Tensor, gates: Tensor, weights: Tensor | None, to_codes: Tensor | None,
    columns: Tensor, rows: Tensor, to_decoded: Tensor, x: Tensor, decoder: Tensor, piece: int = PIECE,
) -> Gradients:  # fmt: skip
    """Launches the pass; all entries are flat [E], see `sae_kernels.backward`."""
    latents, wide_y = decoder.shape
    wide_x, device = x.shape[1], x.device
    plan = planned(columns, rows, latents, piece)
    to_decoded, x, decoder = to_decoded.contiguous(), x.contiguous(), decoder.contiguous()

    def room(count: int) -> list[Tensor]:
        shapes: tuple[tuple[int, ...], ...] = ((count, wide_y), (count, wide_x), (count,), (count,))
        return [torch.empty(shape, dtype=torch.float32, device=device) for shape in shapes]

    out, part = room(latents), room(plan.room)
    out_codes = torch.zeros_like(codes)
    blocks = {"BX": power_of_two(wide_x), "BY": power_of_two(wide_y)}
    warps = 4 if max(blocks.values()) <= 1024 else 8
    if INTERPRETED:  # bfloat16 is widened by torch: the interpreter's own rounding is never used
        to_decoded, x, decoder = to_decoded.float(), x.float(), decoder.float()
    with on(x):
        features_kernel[(len(plan.feature_of),)](
            codes, gates, weights, to_codes, *plan[:6], to_decoded, x, decoder, *out, out_codes, *part,
            latents, wide_x, wide_y, PIECE=piece, BE=2, num_warps=warps, **blocks,
        )  # fmt: skip
        if len(columns) > piece:
            pieces_kernel[(latents,)](
                plan.piece_starts, plan.slots, *out, *part, wide_x, wide_y, num_warps=warps, **blocks
            )
    to_decoder, to_encoder, to_bias, gated = out
    return Gradients(to_decoder, to_encoder, to_bias, out_codes, gated)
