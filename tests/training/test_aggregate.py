from __future__ import annotations

import pytest
import torch

from training.aggregate import BatchSize, aggregate
from training.types import Aggregation

PER_TOKEN = torch.tensor([[1.0, 2.0, 3.0], [4.0, 9.0, 9.0]])
MASK = torch.tensor([[True, True, True], [True, False, False]])
SIZE = BatchSize(rollouts=2, tokens=4, new_tokens=5)


@pytest.mark.parametrize(
    ("how", "expected"), [("sequence_mean", (2 + 4) / 2), ("token_mean", 10 / 4), ("constant", 10 / 10)]
)
def test_each_way_of_averaging(how: Aggregation, expected: float) -> None:
    assert aggregate(PER_TOKEN, MASK, how, SIZE).item() == pytest.approx(expected)


@pytest.mark.parametrize("how", ["sequence_mean", "token_mean", "constant"])
def test_the_shares_of_chunks_add_up(how: Aggregation) -> None:
    parts = sum(aggregate(PER_TOKEN[i : i + 1], MASK[i : i + 1], how, SIZE) for i in range(2))
    torch.testing.assert_close(parts, aggregate(PER_TOKEN, MASK, how, SIZE))


@pytest.mark.parametrize("how", ["sequence_mean", "token_mean", "constant"])
def test_a_rollout_without_tokens_is_no_division_by_zero(how: Aggregation) -> None:
    none = torch.zeros_like(MASK)
    assert aggregate(PER_TOKEN, none, how, BatchSize(2, 0, 5)).item() == 0
