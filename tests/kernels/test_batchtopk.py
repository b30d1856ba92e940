"""encode_batchtopk: planted truths, the CPU path, the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sae_kernels as sk
import torch

Make = Callable[..., Any]
KINDS = ("random", "negative", "few", "tied", "sorted", "duplicated", "dense")


def same(found: sk.Kept, plain: sk.Kept, rounding: float = 1e-5) -> None:
    assert torch.equal(found.rows.cpu(), plain.rows.cpu())
    assert torch.equal(found.columns.cpu(), plain.columns.cpu())
    assert torch.equal(found.starts.cpu(), plain.starts.cpu())
    torch.testing.assert_close(found.values, plain.values, rtol=rounding, atol=rounding)
    torch.testing.assert_close(found.least, plain.least, rtol=rounding, atol=rounding)


def test_the_plain_twin_on_a_planted_truth() -> None:
    x, weight = torch.eye(3), torch.tensor([[5.0, 1, 4], [2, -1, 2], [0, 3, -2]])
    found = sk.encode_batchtopk_plain(x, weight, None, 4)
    assert found.rows.tolist() == [0, 0, 1, 2], "of equal codes the first token's first latent"
    assert found.columns.tolist() == [0, 2, 0, 1]
    assert found.values.tolist() == [5, 4, 2, 3]
    assert found.starts.tolist() == [0, 2, 3, 4]
    assert float(found.least) == 2
    all_ = sk.encode_batchtopk_plain(x, weight, None, 9)
    assert all_.rows.tolist() == [0, 0, 0, 1, 1, 2, -1, -1, -1]
    assert all_.starts.tolist() == [0, 3, 5, 6]
    assert torch.equal(all_.dense(3), weight.relu())
    assert torch.isinf(sk.encode_batchtopk_plain(-x, weight.abs(), None, 2).least)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cpu_path_is_the_plain_twin(problem: Make, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(40, kind=kind)
    same(sk.encode_batchtopk(*given, 200, path="plain"), sk.encode_batchtopk_plain(*given, 200))
    monkeypatch.setattr("sae_kernels.encode.SCRATCH", 4 * 100 * 7)
    same(sk.encode_batchtopk(*given, 200, path="plain"), sk.encode_batchtopk_plain(*given, 200))


@pytest.mark.parametrize("kind", ["random", "tied", "sorted", "few", "dense"])
def test_a_large_batch_is_thinned_first_and_stays_exact(
    problem: Make, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sae_kernels import batchtopk

    given, thinned, near = problem(150, latents=600, kind=kind), [], batchtopk._near

    def seen(score: torch.Tensor, count: int) -> torch.Tensor | None:
        found = near(score, count)
        thinned.append(found is not None)
        return found

    monkeypatch.setattr(batchtopk, "_near", seen)
    same(sk.encode_batchtopk(*given, 2000, path="plain"), sk.encode_batchtopk_plain(*given, 2000))
    assert thinned == [kind != "few"], "two latents of a token are too few to guess from"


def test_scale_changes_what_is_chosen_and_not_the_codes(problem: Make) -> None:
    given, scale = problem(30), torch.linspace(2, 0.01, 100)
    found = sk.encode_batchtopk(*given, 90, scale=scale)
    same(found, sk.encode_batchtopk_plain(*given, 90, scale=scale))
    pre = given.x @ given.weight + given.bias
    torch.testing.assert_close(found.values, pre[found.rows, found.columns])
    torch.testing.assert_close(found.least, (found.values * scale[found.columns]).min())


def test_nan_is_not_hidden(problem: Make) -> None:
    found = sk.encode_batchtopk(*problem(kind="nan"), 20, path="plain")
    assert found.values.isnan().all()
    assert set(found.rows.tolist()) == {0}


def test_counts_that_do_not_fit_are_told(problem: Make) -> None:
    with pytest.raises(sk.KernelError, match="count = 0"):
        sk.encode_batchtopk(*problem(), 0)


@pytest.mark.parametrize("kind", ["random", "few", "tied", "sorted"])
def test_kernels_choose_the_largest_of_the_batch(problem: Make, venue: str, kind: str) -> None:
    given = problem(8, latents=90, device=venue, kind=kind)
    found = sk.encode_batchtopk(*given, 30, row_capacity=12, path="fused")
    assert int(found.overflow) == 0
    same(found, sk.encode_batchtopk_plain(*given, 30), 1e-4)


def test_kernels_choose_by_scale_in_bfloat16(problem: Make, venue: str) -> None:
    given = problem(6, latents=64, device=venue, dtype=torch.bfloat16)
    scale = torch.linspace(2, 0.1, 64, device=venue)
    found = sk.encode_batchtopk(*given, 20, scale=scale, row_capacity=12, path="fused")
    same(found, sk.encode_batchtopk_plain(*given, 20, scale=scale), 1e-3)


def test_a_token_beyond_its_capacity_is_counted(problem: Make, venue: str) -> None:
    given = problem(8, latents=64, device=venue)
    given.bias.copy_(given.bias * 0 + 1)
    given.x[3] *= 30
    found = sk.encode_batchtopk(*given, 24, row_capacity=6, path="fused")
    assert int(found.overflow) >= 1


def test_a_token_that_could_not_be_repaired_is_counted(
    problem: Make, venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sae_kernels.batchtopk.repairable", lambda *sizes: 1)
    given = problem(4, latents=64, device=venue)
    given.bias[:8] += 20
    given.bias[40:48] += 20
    found = sk.encode_batchtopk(*given, 40, row_capacity=20, path="fused")
    assert int(found.overflow) == 4
    assert int(found.repairs) == 0
