"""BatchTopK encoding in training: the k N largest codes of a batch of N tokens.

Bussmann et al. 2024 (arXiv 2412.06410): k on average, as many for a token as it needs. At inference a
threshold takes its place, see `sae_kernels.encode_threshold`; `Kept.least` is what it is learnt from.

Ties go to the lowest token, then to the lowest latent. NaN as in `sae_kernels.encode`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae_kernels.checks import both, check_encode, need
from sae_kernels.dispatch import plan_encode, repairable
from sae_kernels.encode import score_chunks, scores
from sae_kernels.library import operation
from sae_kernels.types import Kept, Streams, zero

SAMPLED = 17
"""Of so many scores one is looked at to guess the smallest that is kept: no power of two, so that all latents
are among them."""


def encode_batchtopk(
    x: Streams,
    weight: Streams,
    bias: Tensor | None,
    count: int,
    *,
    scale: Tensor | None = None,
    row_capacity: int | None = None,
    path: str = "auto",
) -> Kept:
    """The `count` largest active codes of the whole batch.

    Args:
        x: as in `encode_topk`.
        weight: as in `encode_topk`.
        bias: as in `encode_topk`.
        count: how many to keep in all, k N.
        scale: as in `encode_topk`.
        row_capacity: most entries of one token that the fused path keeps; `Kept.overflow` counts the tokens
            for which it was too few, and is to be looked at now and then. Default: the larger of 128 and four
            times the average. It also counts tokens whose codes lie so close together that they could not
            be repaired.
        path: as in `encode_topk`; chunked is plain here.

    Raises:
        KernelError: as `encode_topk`.
    """
    (a, b), (u, v) = both(x), both(weight)
    latents = u.shape[1]
    average = -(-count // max(1, len(a)))
    capacity = min(latents, max(128, 4 * average) if row_capacity is None else row_capacity)
    check_encode((a, b), (u, v), bias, None, scale, capacity)
    need(1 <= count <= len(a) * latents, f"count = {count}", "count", f"at most {len(a) * latents}")
    return Kept(*_encode_batchtopk(a, b, u, v, bias, scale, count, capacity, path))


def encode_batchtopk_plain(
    x: Streams, weight: Streams, bias: Tensor | None, count: int, *, scale: Tensor | None = None
) -> Kept:
    """The plain twin of `encode_batchtopk`: the dense matrix, sorted."""
    (a, b), (u, v) = both(x), both(weight)
    score = scores(a, b, u, v, bias, None, scale)
    place = score.flatten().sort(descending=True, stable=True).indices[:count].sort().values
    return listed(*_filled_up(score.flatten()[place], place, count), len(score), score.shape[1], scale)


def listed(score: Tensor, place: Tensor, tokens: int, latents: int, scale: Tensor | None) -> Kept:
    """Entries of the flattened matrix by token and latent.

    Args:
        score: [E], positive or NaN; zero behind the last entry.
        place: [E], ascending; anything behind the last entry.
        tokens: N.
        latents: F.
        scale: as in `encode_topk`.
    """
    live = score != 0
    place = torch.where(live, place, tokens * latents)
    rows = torch.where(live, place // latents, -1)
    columns = torch.where(live, place % latents, -1)
    values = score if scale is None else score / scale.float()[columns]
    edges = torch.arange(tokens + 1, device=score.device) * latents
    return Kept(
        torch.where(live, values, 0),
        rows,
        columns,
        torch.searchsorted(place, edges),
        torch.where(live, score, torch.inf).min(),
        zero(score.device),
        zero(score.device),
    )


def _run(
    a: Tensor,
    b: Tensor | None,
    u: Tensor,
    v: Tensor | None,
    bias: Tensor | None,
    scale: Tensor | None,
    count: int,
    capacity: int,
    path: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    chosen = plan_encode(len(a), a, u, -(-count // max(1, len(a))), path, capacity)
    if chosen.fused is None or count > len(a) * capacity:
        return _own(_chunked(a, b, u, v, bias, scale, count))
    from sae_kernels.device.encode import Problem, candidates, launch_of, select

    scale = None if scale is None else scale.float().contiguous()
    launch = launch_of(Problem(a, b, u, v, bias, None, scale), chosen.fused)
    found = candidates(launch, chosen.fused, a)
    from sae_kernels.device.batch import kth_bits

    mask = -chosen.fused.columns if launch.constants["PACKED"] else -1
    floor = kth_bits(found.keys, count, mask)
    most = repairable(chosen.fused, u.shape[1], capacity)
    rows = select(launch, found, chosen.fused, capacity, floor, None, most)
    return _own(_of_rows(*rows, count, u.shape[1], scale))


def _fake(a: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    *_, count, _, _ = others
    values = a.new_empty(count, dtype=torch.float32)
    rows, columns = (torch.empty_like(values, dtype=torch.int64) for _ in range(2))
    starts = a.new_empty(len(a) + 1, dtype=torch.int64)
    repairs, overflow = (a.new_empty((), dtype=torch.int32) for _ in range(2))
    return values, rows, columns, starts, a.new_empty((), dtype=torch.float32), repairs, overflow


_encode_batchtopk = operation("encode_batchtopk", _run, _fake)


def _own(kept: Kept) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """No two of them one memory, as an operation's results must be."""
    values, rows, columns, starts, least, repairs, overflow = kept
    return values, rows, columns, starts, least, repairs.clone(), overflow.clone()


def _of_rows(
    scores: Tensor,
    indices: Tensor,
    repairs: Tensor,
    unrepaired: Tensor,
    count: int,
    latents: int,
    scale: Tensor | None,
) -> Kept:
    """The `count` largest of each row's largest, which hold all of them unless a row is full."""
    from sae_kernels.device.batch import kth_bits

    flat = scores.flatten()
    bits = flat.view(torch.int32)
    least = kth_bits(bits, count)
    above, tied = bits > least, (bits == least) & (least > 0)
    chosen = above | (tied & (tied.cumsum(0) <= count - above.sum()))
    target = torch.where(chosen, chosen.cumsum(0) - 1, count)
    place = torch.arange(len(scores), device=flat.device)[:, None] * latents + indices
    score = flat.new_zeros(count + 1).scatter_(0, target, flat)[:-1]
    spot = place.new_zeros(count + 1).scatter_(0, target, place.flatten())[:-1]
    live = torch.arange(count, device=flat.device) < chosen.sum()
    kept = listed(torch.where(live, score, 0), spot, len(scores), latents, scale)
    # What a full row left out is below all that it kept: it matters only if all of that was chosen.
    full = chosen.view(scores.shape).all(1).sum(dtype=torch.int32)
    return kept._replace(repairs=repairs, overflow=full + unrepaired)


def _chunked(
    a: Tensor,
    b: Tensor | None,
    u: Tensor,
    v: Tensor | None,
    bias: Tensor | None,
    scale: Tensor | None,
    count: int,
) -> Kept:
    """The plain path on any device: the largest so far, joined with those of the next tokens."""
    latents = u.shape[1]
    score = a.new_zeros(0, dtype=torch.float32)
    place = a.new_zeros(0, dtype=torch.int64)
    for part in score_chunks(a, b, u, v, bias, None, scale):
        new = part.score.flatten()
        found = _largest_flat(new, min(count, len(new)))
        score, place = torch.cat([score, new[found]]), torch.cat([place, found + part.first * latents])
        if len(score) > count:
            best = _largest_flat(score, count)
            score, place = score[best], place[best]
    return listed(*_filled_up(score, place, count), len(a), latents, scale)


def _filled_up(score: Tensor, place: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Without the zeros, which go behind the last entry."""
    live = score != 0
    score, place = score[live], place[live]
    rest = count - len(score)
    return torch.cat([score, score.new_zeros(rest)]), torch.cat([place, place.new_zeros(rest)])


def _largest_flat(score: Tensor, count: int) -> Tensor:
    """Places of the largest, ascending, of equal ones the first; those of torch.topk may be any."""
    near = _near(score, count)
    there = score if near is None else score[near]
    if bool(there.isnan().any()):
        chosen = there.sort(descending=True, stable=True).indices[:count].sort().values
    else:
        least = torch.topk(there, count, sorted=False).values.min()
        above, tied = there > least, there == least
        chosen = (above | (tied & (tied.cumsum(0) <= count - above.sum()))).nonzero()[:, 0]
    return chosen if near is None else near[chosen]


def _near(score: Tensor, count: int) -> Tensor | None:
    """Ascending places among which the largest surely are, few more than those; None: all, nothing is known.

    A quarter more of a sample than is its share is above a line; if enough of all is, the largest are.
    """
    share = count // SAMPLED + 1
    sample = score[::SAMPLED]
    if len(sample) < 4 * share:
        return None
    line = torch.topk(sample, share + share // 4 + 8, sorted=False).values.min()
    if not bool(line > 0):
        return None
    near = (~(score < line)).nonzero()[:, 0]
    return near if len(near) >= count else None
