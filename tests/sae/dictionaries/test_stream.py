from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sae.dictionaries.stream import Batches, Position
from sae.errors import DictionaryError


def stream(epoch: int) -> Iterator[torch.Tensor]:
    """Ten tokens, numbered through the epochs, in pieces of 3, 0, 6 and 1."""
    rows = torch.arange(10.0).add(10 * epoch)[:, None, None].expand(-1, 2, 4)
    return iter(rows.split([3, 0, 6, 1]))


def numbers(batch: torch.Tensor) -> list[int]:
    return batch[:, 0, 0].int().tolist()


def test_batches_run_through_epochs_without_loss() -> None:
    batches = Batches(stream, 4)
    assert numbers(batches.peek(7)) == list(range(7))
    assert [numbers(next(batches)) for _ in range(6)] == [list(range(i, i + 4)) for i in range(0, 24, 4)]
    assert batches.position == Position(2, 4)


@pytest.mark.parametrize("size", [1, 3, 4, 10, 23])
def test_every_position_is_one_to_go_on_from(size: int) -> None:
    batches = Batches(stream, size)
    for step in range(1, 12):
        next(batches)
        again = Batches(stream, size, batches.position)
        assert numbers(next(again)) == list(range(step * size, (step + 1) * size))


def test_peeking_ends_with_the_epoch() -> None:
    assert numbers(Batches(stream, 4).peek(99)) == list(range(10))


def test_streams_that_are_of_no_use_are_refused() -> None:
    with pytest.raises(DictionaryError, match="no activations"):
        Batches(lambda epoch: iter([]), 4).peek(1)
    with pytest.raises(DictionaryError, match="no activations"):
        next(Batches(lambda epoch: stream(0) if epoch == 0 else iter([]), 11))
    with pytest.raises(DictionaryError, match="instead of tokens x 2 models x width"):
        next(Batches(lambda epoch: iter([torch.zeros(5, 1, 2, 4)]), 4))
    with pytest.raises(DictionaryError, match="fewer tokens than when the checkpoint"):
        Batches(stream, 4, Position(0, 11))
