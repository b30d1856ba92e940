"""Components of structured changes stand out of their bulk; those of noise do not, whatever its shape."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from audit.causal.deltas import COMPONENTS, EXACT, Deltas
from audit.causal.spectrum import standing_out


def count(change: Tensor) -> int:
    return standing_out(Deltas({"layer.weight": change}), "layer")


def noise(seed: int, rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 32), (32, 32), (64, 170), (300, 32), (EXACT + 44, EXACT + 144)])
def test_noise_has_none(shape: tuple[int, int]) -> None:
    seeds = range(40 if max(shape) <= 300 else 2)
    assert sum(count(noise(seed, *shape)) > 0 for seed in seeds) <= len(seeds) // 20


def test_noise_of_uneven_size_has_none() -> None:
    for seed in range(10):
        rows = torch.logspace(-3, 0, 96)[:, None]
        assert count(rows * noise(seed, 96, 64)) == 0, "few large rows are not a direction"


@pytest.mark.parametrize("rank", [1, 2, 4, 7])
def test_directions_above_the_noise_are_counted(rank: int) -> None:
    low = noise(0, 96, rank) @ noise(1, rank, 64)
    assert count(low + 0.05 * noise(2, 96, 64)) == rank
    assert count(0.002 * low + 0.05 * noise(2, 96, 64)) == 0


@pytest.mark.parametrize("rank", [1, 8])
def test_a_change_of_low_rank_is_all_structure(rank: int) -> None:
    assert count(noise(0, 64, rank) @ noise(1, rank, 64)) == rank
    orthogonal = torch.linalg.qr(noise(3, 64, rank)).Q
    assert count(orthogonal @ torch.linalg.qr(noise(4, 64, rank)).Q.T) == rank


def test_no_more_than_are_kept_and_none_of_what_did_not_change() -> None:
    low = noise(0, 200, COMPONENTS + 4) @ noise(1, COMPONENTS + 4, 200)
    assert count(low + 0.01 * noise(2, 200, 200)) == COMPONENTS
    assert standing_out(Deltas({}), "layer") == 0
    assert count(torch.ones(5)) == 0
