"""Batches of one size out of a stream that is made anew for every epoch, with a position to go on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sae.errors import DictionaryError

MakeStream = Callable[[int], Iterator[Tensor]]
"""Epoch to a stream of paired activations [N, 2, D] of any N; the same epoch gives the same stream."""


class Position(NamedTuple):
    """The first token that was not taken yet."""

    epoch: int = 0
    row: int = 0


START = Position()


class Batches:
    """An endless iterator of [size, 2, D]; the end of an epoch and the start of the next share a batch.

    Raises (when iterated):
        DictionaryError: an epoch is empty, or what the stream gives is no [N, 2, D].
    """

    def __init__(self, make_stream: MakeStream, size: int, position: Position = START) -> None:
        self._make, self._size = make_stream, size
        self.position = position
        self._read = Position(position.epoch)
        self._stream = make_stream(position.epoch)
        self._held: list[Tensor] = []
        self._lengths: dict[int, int] = {}
        self._skip(position.row)

    def peek(self, count: int) -> Float[Tensor, "N 2 D"]:
        """Up to `count` coming tokens of this epoch, which stay to be taken; at least one."""
        while sum(map(len, self._held)) < count and self._pull():
            pass
        if not self._held:
            raise _empty(self._read.epoch)
        return torch.cat(self._held)[:count]

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Float[Tensor, "N 2 D"]:
        while sum(map(len, self._held)) < self._size:
            if not self._pull():
                self._next_epoch()
        self._advance(self._size)
        return self._take(self._size)

    def _take(self, count: int) -> Tensor:
        taken = []
        while count:
            piece = self._held.pop(0)
            if len(piece) > count:
                self._held.insert(0, piece[count:])
            taken.append(piece[:count])
            count -= len(taken[-1])
        return taken[0] if len(taken) == 1 else torch.cat(taken)

    def _pull(self) -> bool:
        """Reads one piece of the stream; whether there was one."""
        piece = next(self._stream, None)
        if piece is None:
            return False
        if piece.ndim != 3 or piece.shape[1] != 2:
            raise DictionaryError(
                f"the stream gives {tuple(piece.shape)} instead of tokens x 2 models x width",
                where="make_stream",
                fix="pick one hook point: x_NLMD[:, layer]",
            )
        self._held.append(piece)
        self._read = Position(self._read.epoch, self._read.row + len(piece))
        return True

    def _next_epoch(self) -> None:
        if self._read.row == 0:
            raise _empty(self._read.epoch)
        self._lengths[self._read.epoch] = self._read.row
        self._read = Position(self._read.epoch + 1)
        self._stream = self._make(self._read.epoch)

    def _advance(self, count: int) -> None:
        epoch, row = self.position
        row += count
        while epoch in self._lengths and row >= self._lengths[epoch]:
            row -= self._lengths.pop(epoch)
            epoch += 1
        self.position = Position(epoch, row)

    def _skip(self, rows: int) -> None:
        while self._read.row < rows and self._pull():
            surplus = self._read.row - rows
            self._held = [self._held[-1][-surplus:]] if surplus > 0 else []
        if self._read.row < rows:
            raise DictionaryError(
                f"epoch {self._read.epoch} has fewer tokens than when the checkpoint was written",
                where="make_stream",
                fix="train on the same activations, or remove the checkpoint",
            )


def _empty(epoch: int) -> DictionaryError:
    return DictionaryError(
        "there are no activations to train on", where=f"make_stream({epoch})", fix="use more text"
    )
