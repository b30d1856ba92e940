"""jumprelu: the band, and the straight-through gradients of codes and thresholds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sae_kernels as sk
import torch

Make = Callable[..., Any]


def test_the_band_on_a_planted_truth() -> None:
    x, weight = torch.ones(1, 1), torch.tensor([[0.3, 0.45, 0.55, 2.0, -0.04, -0.2]])
    threshold = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.01, 0.01])
    found = sk.encode_band(x, weight, torch.zeros(6), threshold, 0.2, 5)
    assert found.indices.tolist() == [[1, 2, 3, 4, -1]], "also below zero, where the threshold is near it"
    torch.testing.assert_close(found.values, torch.tensor([[0.45, 0.55, 2.0, -0.04, 0]]))
    assert sk.encode_band(x, weight, torch.zeros(6), threshold, 0.2, 2).indices.tolist() == [[2, 3]]


def test_the_band_is_its_plain_twin(problem: Make) -> None:
    given, threshold = problem(20), torch.linspace(0.01, 1, 100)
    found = sk.encode_band(*given, threshold, 0.3, 60)
    plain = sk.encode_band_plain(*given, threshold, 0.3, 60)
    assert torch.equal(found.indices, plain.indices)
    torch.testing.assert_close(found.values, plain.values)
    pre = given.x @ given.weight + given.bias
    assert torch.equal((found.indices >= 0).sum(1), (pre > threshold - 0.15).sum(1))


def test_gradients_are_equations_11_and_12() -> None:
    z = torch.tensor([0.2, 0.46, 0.54, 3.0], requires_grad=True)
    threshold = torch.full((4,), 0.5, requires_grad=True)
    out = sk.jumprelu(z, threshold, 0.1)
    assert out.values.tolist() == pytest.approx([0, 0, 0.54, 3])
    assert out.active.tolist() == [0, 0, 1, 1]
    (2 * out.values.sum() + 7 * out.active.sum()).backward()
    assert z.grad.tolist() == [0, 0, 2, 2]
    assert threshold.grad.tolist() == pytest.approx([0, -(2 * 0.5 + 7) / 0.1, -(2 * 0.5 + 7) / 0.1, 0])


def leaves(given: Any, device: str = "cpu") -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    decoder, threshold = torch.randn(100, 18, generator=g).to(device), torch.linspace(0.01, 1, 100).to(device)
    parts = given.weight.T.contiguous(), given.bias, threshold, decoder
    return [part.clone().requires_grad_() for part in parts]


def compare(given: Any, capacity: int, path: str, device: str = "cpu") -> None:
    mine, plain = leaves(given, device), leaves(given, device)
    band = sk.encode_band(given.x, mine[0].detach().T, given.bias, mine[2].detach(), 0.3, capacity)
    pull = torch.randn(len(given.x), 18, generator=torch.Generator().manual_seed(4)).to(device)
    found = sk.autoencode_jumprelu(given.x, *mine, band, 0.3, path=path)
    wanted = sk.autoencode_jumprelu_plain(given.x, *plain, band, 0.3)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    for out in (found, wanted):
        ((out.decoded * pull).sum() + (out.values.sum(1) ** 2).sum()).backward()
    for a, b in zip(mine, plain, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-3)
    assert plain[2].grad is not None
    assert (plain[2].grad != 0).any(), "thresholds learn"


def test_the_pass_has_the_gradients_of_its_plain_twin(problem: Make) -> None:
    compare(problem(20), 100, "auto")


def test_kernels_give_the_pass(problem: Make, venue: str) -> None:
    compare(problem(6, device=venue), 100 if venue == "cuda" else 60, "fused", venue)


def test_a_bandwidth_of_nothing_is_told(problem: Make) -> None:
    with pytest.raises(sk.KernelError, match="bandwidth"):
        sk.encode_band(*problem(), torch.zeros(100), 0.0, 5)


def test_kernels_give_the_band(problem: Make, venue: str) -> None:
    given, threshold = problem(6, device=venue), torch.linspace(0.01, 1.5, 100, device=venue)
    found = sk.encode_band(*given, threshold, 0.3, 12, path="fused")
    plain = sk.encode_band_plain(*given, threshold, 0.3, 12)
    assert torch.equal(found.indices, plain.indices)
    torch.testing.assert_close(found.values, plain.values, rtol=1e-4, atol=1e-4)
