"""Shuffling a stream of activations in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from sae.errors import HarvestError
from sae.types import PairedActivations, TokenInfo

Columns = tuple[Tensor, ...]
SPARSE = 16
"""A batch of less than one in so many places is drawn number by number, a larger one by permuting all."""


class ShuffleBuffer:
    """Activations in random order, each exactly once, in batches of equal size (the last may be smaller).

    The buffer is kept full: each batch is drawn at random from all that it holds, and what comes next takes
    the places; nothing else moves. So an activation leaves after a time that is random and on average
    `capacity` activations long. A capacity of the whole stream gives a uniform permutation; with a smaller
    one, let the documents come in random order too (`sae.harvest.shuffled_order`), or the order of the corpus
    shows through.

    Args:
        stream: chunks of any size.
        capacity: activations that the buffer holds: all the memory it uses, beside one chunk and one batch.
        batch_size: activations per batch.
        seed: of the order.

    Raises:
        HarvestError: the sizes make no sense.
    """

    def __init__(
        self, stream: Iterable[PairedActivations], *, capacity: int, batch_size: int, seed: int
    ) -> None:
        if not 1 <= batch_size <= capacity:
            problem = f"batches of {batch_size} cannot be drawn from a buffer of {capacity}"
            raise HarvestError(problem, where="shuffle buffer", fix="make the buffer larger than a batch")
        self._stream = stream
        self._capacity, self._batch_size = capacity, batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[PairedActivations]:
        held: Columns | None = None
        free = torch.arange(self._capacity)
        for chunk in self._stream:
            columns = _columns(chunk)
            held = held or _empty(columns, self._capacity)
            taken = 0
            while taken < len(columns[0]):
                here = free[: len(columns[0]) - taken]
                _put(held, here, columns, taken)
                taken, free = taken + len(here), free[len(here) :]
                if not len(free):
                    free = drawn(self._capacity, self._batch_size, self._generator)
                    yield _taken(held, free)
        if held is not None:
            yield from self._rest(held, free)

    def _rest(self, held: Columns, free: Int[Tensor, " K"]) -> Iterator[PairedActivations]:
        used = torch.ones(self._capacity, dtype=torch.bool)
        used[free] = False
        left = used.nonzero().squeeze(1)
        rows = left[drawn(len(left), len(left), self._generator)]
        for start in range(0, len(rows), self._batch_size):
            yield _taken(held, rows[start : start + self._batch_size])


def drawn(places: int, count: int, generator: torch.Generator) -> Int[Tensor, " K"]:
    """`count` of `places` at random, without replacement and in random order: int64 [count].

    The first `count` different numbers of a sequence of independent ones, where that costs less than a
    permutation of all places: the time is of order `count`, however large the buffer.
    """
    if count * SPARSE > places:
        return torch.randperm(places, generator=generator)[:count]
    found = torch.empty(0, dtype=torch.long)
    while len(found) < count:
        more = torch.randint(places, (count + count // 8 + 16,), generator=generator)
        found = _first_appearances(torch.cat([found, more]))
    return found[:count]


def _first_appearances(numbers: Int[Tensor, " N"]) -> Int[Tensor, " K"]:
    """Every number once, in the order in which they come first."""
    values, places = torch.unique(numbers, return_inverse=True)
    first = torch.full_like(values, len(numbers))
    first.scatter_reduce_(0, places, torch.arange(len(numbers)), "amin")
    return numbers[first.sort().values]


def _columns(chunk: PairedActivations) -> Columns:
    info = chunk.info
    return (chunk.x_NLMD, info.document_N, info.position_N, info.token_N, info.role_N)


def _empty(columns: Columns, capacity: int) -> Columns:
    return tuple(column.new_empty((capacity, *column.shape[1:])) for column in columns)


def _put(held: Columns, rows: Int[Tensor, " K"], columns: Columns, start: int) -> None:
    for column, new in zip(held, columns, strict=True):
        column[rows.to(column.device)] = new[start : start + len(rows)]


def _taken(held: Columns, rows: Int[Tensor, " K"]) -> PairedActivations:
    x_NLMD, *info = (column[rows.to(column.device)] for column in held)
    return PairedActivations(x_NLMD, TokenInfo(*info))
