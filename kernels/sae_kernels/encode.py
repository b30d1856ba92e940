"""TopK encoding: the k largest active codes per token, without the dense [N, F] matrix in memory.

    pre = x W + b,  code = pre if pre > max(threshold, 0) else 0,  kept: the k largest of code * scale

TopK (Gao et al. 2024, arXiv 2406.04093) with no threshold and no scale; a crosscoder reads two streams and
selects by code times its sum of decoder norms (`scale`); JumpReLU and the inference form of BatchTopK are a
threshold per latent or one for all, with k the capacity of a token (`encode_threshold`).

Ties go to the lowest index. A NaN pre-activation counts as larger than every number and comes out as NaN: a
token of NaNs keeps its first k latents, all NaN. Minus infinity is inactive, plus infinity is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from sae_kernels.checks import both, check_encode
from sae_kernels.dispatch import plan_encode
from sae_kernels.library import operation
from sae_kernels.types import Encoded, Streams, zero

SCRATCH = 2**28
"""Bytes of pre-activations that the plain path holds at a time."""
GROUP = 16
"""Latents of which the plain path first takes the largest, to see how far down it need look."""


def encode_topk(
    x: Streams,
    weight: Streams,
    bias: Tensor | None,
    k: int,
    *,
    threshold: Tensor | float | None = None,
    scale: Tensor | None = None,
    path: str = "auto",
) -> Encoded:
    """The k largest active codes of each token.

    Args:
        x: activations [N, C] in float32, bfloat16 or float16, or a pair of [N, D] (two models).
        weight: [C, F] in the same type, in any memory layout (`W_FC.T` costs nothing); or a pair of [D, F].
        bias: [F], or none.
        k: how many to keep.
        threshold: [F] or one number, in units of the pre-activation; those at or below it are inactive.
        scale: [F] >= 0; selection is by code times scale, what comes out is the code.
        path: "auto", or one of `sae_kernels.dispatch.PATHS`.

    Raises:
        KernelError: shapes, types or devices do not fit, or the path cannot take these inputs.
    """
    (a, b), (u, v) = both(x), both(weight)
    limit = _limit(threshold, u)
    check_encode((a, b), (u, v), bias, limit, scale, k)
    return Encoded(*_encode_topk(a, b, u, v, bias, limit, scale, k, path))


def encode_threshold(
    x: Streams,
    weight: Streams,
    bias: Tensor | None,
    threshold: Tensor | float,
    capacity: int,
    *,
    path: str = "auto",
) -> Encoded:
    """All codes above a threshold, up to `capacity` per token: JumpReLU, or BatchTopK at inference.

    A token with more keeps its largest; `Encoded.full` counts the tokens of which that may be true. Otherwise
    as `encode_topk`.
    """
    return encode_topk(x, weight, bias, capacity, threshold=threshold, path=path)


def encode_topk_plain(
    x: Streams,
    weight: Streams,
    bias: Tensor | None,
    k: int,
    *,
    threshold: Tensor | float | None = None,
    scale: Tensor | None = None,
) -> Encoded:
    """The plain twin of `encode_topk`: the dense matrix, sorted."""
    (a, b), (u, v) = both(x), both(weight)
    score = scores(a, b, u, v, bias, _limit(threshold, u), scale)
    order = score.sort(dim=1, descending=True, stable=True)
    return packed(order.values[:, :k], order.indices[:, :k], scale)


def encode_chunked(
    a: Tensor,
    b: Tensor | None,
    u: Tensor,
    v: Tensor | None,
    bias: Tensor | None,
    threshold: Tensor | None,
    scale: Tensor | None,
    k: int,
) -> Encoded:
    """The plain path on any device: a matrix product and a choice, some tokens at a time."""
    parts = [
        packed(*_largest(part.score, k), scale) if threshold is None else _active(part.score, k, scale)
        for part in score_chunks(a, b, u, v, bias, threshold, scale)
    ]
    if not parts:
        empty = a.new_zeros(0, k, dtype=torch.float32)
        return Encoded(empty, empty.long(), zero(a.device))
    values, indices = (torch.cat(part) for part in list(zip(*parts, strict=True))[:2])
    return Encoded(values, indices, zero(a.device))


class Chunk(NamedTuple):
    """Scores of some tokens."""

    first: int
    """Number of the first of them."""
    score: Tensor
    """[tokens, F], float32."""


def score_chunks(
    a: Tensor,
    b: Tensor | None,
    u: Tensor,
    v: Tensor | None,
    bias: Tensor | None,
    threshold: Tensor | None,
    scale: Tensor | None,
) -> Iterator[Chunk]:
    """Dense scores of as many tokens at a time as `SCRATCH` holds."""
    rows = max(1, SCRATCH // (4 * u.shape[1]))
    u, v = u.float(), None if v is None else v.float()
    for first in range(0, len(a), rows):
        here = slice(first, first + rows)
        other = None if b is None else b[here]
        yield Chunk(first, scores(a[here], other, u, v, bias, threshold, scale))


def scores(
    a: Tensor,
    b: Tensor | None,
    u: Tensor,
    v: Tensor | None,
    bias: Tensor | None,
    threshold: Tensor | None,
    scale: Tensor | None,
) -> Tensor:
    """Dense scores [N, F] in float32: zero where inactive."""
    a, u = a.float(), u.float()
    pre = a @ u if bias is None else torch.addmm(bias.float(), a, u)
    if b is not None and v is not None:
        pre.addmm_(b.float(), v.float())
    floor = 0.0 if threshold is None else threshold.clamp(min=0)
    pre = pre.clamp_(min=0) if threshold is None else pre.masked_fill_(pre <= floor, 0)
    return pre if scale is None else pre.mul_(scale)


def packed(score: Tensor, index: Tensor, scale: Tensor | None) -> Encoded:
    """Chosen scores in any order, as codes by ascending index; zero scores were no choice."""
    live = score != 0
    order = torch.where(live, index, torch.iinfo(index.dtype).max).sort(dim=1)
    score, live = score.gather(1, order.indices), live.gather(1, order.indices)
    index = torch.where(live, order.values, -1)
    if scale is not None:
        score = torch.where(live, score / scale.float()[index], 0)
    return Encoded(score, index, zero(score.device))


def _run(
    a: Tensor,
    b: Tensor | None,
    u: Tensor,
    v: Tensor | None,
    bias: Tensor | None,
    threshold: Tensor | None,
    scale: Tensor | None,
    k: int,
    path: str,
) -> tuple[Tensor, Tensor, Tensor]:
    chosen = plan_encode(len(a), a, u, k, path)
    if chosen.path == "plain" or not len(a):
        return _bare(encode_chunked(a, b, u, v, bias, threshold, scale, k))
    from sae_kernels.device.compact import encode_compact
    from sae_kernels.device.encode import Problem, encode_fused

    scale = None if scale is None else scale.float().contiguous()
    problem = Problem(a, b, u, v, bias, threshold, scale)
    if chosen.fused is not None:
        return _bare(Encoded(*encode_fused(problem, k, chosen.fused)[:3]))
    return _bare(Encoded(*encode_compact(problem, k)[:3]))


def _bare(found: Encoded) -> tuple[Tensor, Tensor, Tensor]:
    """No result may be a view of something larger."""
    return found.values, found.indices, found.repairs.clone()


def _fake(a: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    *_, k, _ = others
    values = a.new_empty(len(a), k, dtype=torch.float32)
    return values, torch.empty_like(values, dtype=torch.int64), a.new_empty((), dtype=torch.int32)


_encode_topk = operation("encode_topk", _run, _fake)


def _largest(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each token and their columns; of equal ones the first."""
    if score.shape[1] < 4 * GROUP * k:
        return _chosen(score, k)
    near = _gathered(score, ~(score < _bound(score, k)))
    values, places = _chosen(near.values, min(k, near.values.shape[1]))
    columns = near.columns.gather(1, places)
    missing = k - values.shape[1]
    return (values, columns) if missing <= 0 else (pad(values, (0, missing)), pad(columns, (0, missing)))


def _bound(score: Tensor, k: int) -> Tensor:
    """What at least k scores of a token reach, if so many are active: the k-th largest of groups' largest."""
    groups = score.shape[1] // GROUP
    tops = score[:, : groups * GROUP].reshape(len(score), GROUP, groups).amax(1)
    bound = tops.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)
    return torch.where(bound > 0, bound, torch.finfo(torch.float32).tiny)


class _Near(NamedTuple):
    """Some scores of each token, in order of their columns; zeros behind them."""

    values: Tensor
    columns: Tensor


def _gathered(score: Tensor, live: Tensor) -> _Near:
    """The scores at the live places, as few columns as they need."""
    row, column = live.nonzero(as_tuple=True)
    count = torch.bincount(row, minlength=len(score))
    slot = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    width = int(count.max()) if len(count) else 0
    values = score.new_zeros(len(score), width).index_put_((row, slot), score[row, column])
    columns = torch.full_like(values, -1, dtype=torch.int64).index_put_((row, slot), column)
    return _Near(values, columns)


def _chosen(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """torch.topk, and the tie rule, which it does not have: one more tells whether there is a tie."""
    top = torch.topk(score, min(k + 1, score.shape[1]), dim=1, sorted=True)
    values, indices = top.values[:, :k].contiguous(), top.indices[:, :k].contiguous()
    if top.values.shape[1] <= k:
        return values, indices
    tied = (values[:, -1] == top.values[:, -1]) & (values[:, -1] != 0)
    rows = (tied | values[:, 0].isnan()).nonzero()[:, 0]
    if len(rows):
        order = score[rows].sort(dim=1, descending=True, stable=True)
        values[rows], indices[rows] = order.values[:, :k], order.indices[:, :k]
    return values, indices


def _active(score: Tensor, k: int, scale: Tensor | None) -> Encoded:
    """All active scores, where a threshold has left few: no sorting but in tokens with more than k."""
    crowded = ((score != 0).sum(1) > k).nonzero()[:, 0]
    if len(crowded):
        values, columns = _largest(score[crowded], k)
        score[crowded] = torch.zeros_like(score[crowded]).scatter_(1, columns.clamp(min=0), values)
    near = _gathered(score, score != 0)
    rest = (0, k - near.values.shape[1])
    values, columns = pad(near.values, rest), pad(near.columns, rest, value=-1)
    if scale is not None:
        values = torch.where(columns < 0, 0, values / scale.float()[columns])
    return Encoded(values, columns, zero(score.device))


def _limit(threshold: Tensor | float | None, weight: Tensor) -> Tensor | None:
    if threshold is None:
        return None
    limit = torch.as_tensor(threshold, dtype=torch.float32, device=weight.device)
    return limit.expand(weight.shape[1]) if limit.ndim == 0 else limit
