"""auxk: dead latents alone, against all latents masked."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import sae_kernels as sk
import torch

Make = Callable[..., Any]
DEAD = torch.tensor([3, 4, 17, 50, 51, 52, 99])


@pytest.mark.parametrize("k", [3, 7, 20])
def test_only_dead_latents_are_chosen(problem: Make, k: int) -> None:
    given = problem(20)
    encoder = given.weight.T.contiguous()
    found = sk.encode_dead(given.x, encoder, given.bias, DEAD, k)
    plain = sk.encode_dead_plain(given.x, encoder, given.bias, DEAD, k)
    assert torch.equal(found.indices, plain.indices)
    assert set(found.indices.flatten().tolist()) <= {-1, *DEAD.tolist()}
    torch.testing.assert_close(found.values, plain.values)


@pytest.mark.parametrize("sparse", [0, 16], ids=["gathered", "by products"])
@pytest.mark.parametrize("k", [4, 7])
def test_gradients_reach_dead_rows_and_no_others(
    problem: Make, monkeypatch: pytest.MonkeyPatch, sparse: int, k: int
) -> None:
    monkeypatch.setattr(importlib.import_module("sae_kernels.auxk"), "SPARSE", sparse)
    given = problem(20)
    leaves = [given.weight.T.contiguous(), given.bias, torch.randn(100, 24)]
    mine, plain = ([leaf.clone().requires_grad_() for leaf in leaves] for _ in range(2))
    pull = torch.randn(20, 24)
    (sk.auxk(given.x, *mine, DEAD, k) * pull).sum().backward()
    (sk.auxk_plain(given.x, *plain, DEAD, k) * pull).sum().backward()
    alive = torch.ones(100, dtype=torch.bool).index_fill(0, DEAD, False)
    for a, b in zip(mine, plain, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)
        assert (a.grad[alive] == 0).all()
        assert (a.grad[DEAD] != 0).any()


def test_no_dead_latents_are_told(problem: Make) -> None:
    given = problem()
    with pytest.raises(sk.KernelError, match="no latent is dead"):
        sk.encode_dead(given.x, given.weight.T, given.bias, DEAD[:0], 3)


def test_kernels_choose_among_dead_latents(problem: Make, venue: str) -> None:
    given, dead = problem(6, device=venue), DEAD.to(venue)
    encoder = given.weight.T.contiguous()
    found = sk.encode_dead(given.x, encoder, given.bias, dead, 3, path="fused")
    plain = sk.encode_dead_plain(given.x, encoder, given.bias, dead, 3)
    assert torch.equal(found.indices, plain.indices)
    torch.testing.assert_close(found.values, plain.values, rtol=1e-4, atol=1e-4)
