"""encode: the plain twin on planted truths, the CPU path and the kernels against the plain twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sae_kernels as sk
import torch
from sae_kernels.encode import SCRATCH, scores
from sae_kernels.types import Encoded

KINDS = ("random", "negative", "few", "tied", "sorted", "duplicated", "dense")
Make = Callable[..., Any]


def holds(found: Encoded, given: Any, k: int, *, rounding: float, **more: Any) -> None:
    """Chosen scores reach the k-th less eps, all above the k-th plus eps are chosen, codes are right."""
    score = scores(given.x, None, given.weight, None, given.bias, more.get("threshold"), more.get("scale"))
    code = scores(given.x, None, given.weight, None, given.bias, more.get("threshold"), None)
    least = score.topk(k, dim=1).values[:, -1:]
    eps = rounding * score.abs().amax(1, keepdim=True).clamp(min=1e-6)
    chosen = torch.zeros_like(score).scatter_add_(
        1, found.indices.clamp(min=0), (found.indices >= 0).to(score.dtype)
    )
    assert (chosen <= 1).all(), "an index was chosen twice"
    assert (score[chosen == 1] >= (least - eps).expand_as(score)[chosen == 1]).all()
    assert (chosen[score > least + eps] == 1).all()
    assert (score[chosen == 1] > 0).all()
    there = found.indices >= 0
    assert torch.equal(there.sum(1), chosen.sum(1).long())
    assert (found.values[~there] == 0).all()
    assert (there.long().diff(dim=1) <= 0).all(), "padding is not at the end"
    assert (found.indices.diff(dim=1)[there[:, 1:]] > 0).all(), "indices do not ascend"
    wanted = code.gather(1, found.indices.clamp(min=0))
    torch.testing.assert_close(found.values[there], wanted[there], rtol=rounding, atol=rounding)


def test_the_plain_twin_on_a_planted_truth() -> None:
    weight = torch.tensor([[1.0, 0, 2, 2, -1, 3], [0, 1, 0, 0, 1, 0]])
    x = torch.tensor([[1.0, 0.5], [-1, 2], [0, 0], [1, 0]])
    found = sk.encode_topk_plain(x, weight, None, 3)
    assert found.indices.tolist() == [[2, 3, 5], [1, 4, -1], [-1, -1, -1], [2, 3, 5]]
    assert found.values.tolist() == [[2, 2, 3], [2, 3, 0], [0, 0, 0], [2, 2, 3]]
    two = sk.encode_topk_plain(x, weight, None, 2)
    assert two.indices[0].tolist() == [2, 5], "of equal codes the lowest index"
    assert found.dense(6)[0].tolist() == [0, 0, 2, 2, 0, 3]


def test_threshold_and_scale_on_a_planted_truth() -> None:
    x, weight = torch.ones(1, 1), torch.tensor([[1.0, 2, 3, 4]])
    cut = sk.encode_threshold(x, weight, None, 2.0, 4)
    assert cut.indices.tolist() == [[2, 3, -1, -1]], "what is at the threshold is inactive"
    assert int(cut.full) == 0
    assert int(sk.encode_threshold(x, weight, None, 0.5, 2).full) == 1
    each = sk.encode_threshold(x, weight, None, torch.tensor([0.0, 5, -1, 3.5]), 4)
    assert each.indices.tolist() == [[0, 2, 3, -1]]
    scaled = sk.encode_topk_plain(x, weight, None, 1, scale=torch.tensor([5.0, 1, 1, 1]))
    assert scaled.indices.tolist() == [[0]]
    assert scaled.values.tolist() == [[1.0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_cpu_path_is_the_plain_twin(problem: Make, kind: str, dtype: torch.dtype) -> None:
    given = problem(40, kind=kind, dtype=dtype)
    fast, plain = sk.encode_topk(*given, 9, path="plain"), sk.encode_topk_plain(*given, 9)
    assert torch.equal(fast.indices, plain.indices)
    torch.testing.assert_close(fast.values, plain.values)
    holds(fast, given, 9, rounding=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_many_latents_are_thinned_first_and_stay_exact(problem: Make, kind: str) -> None:
    given = problem(40, latents=2000, kind=kind)
    fast, plain = sk.encode_topk(*given, 9, path="plain"), sk.encode_topk_plain(*given, 9)
    assert torch.equal(fast.indices, plain.indices)
    torch.testing.assert_close(fast.values, plain.values)


def test_the_cpu_path_holds_a_bounded_part_at_a_time(problem: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(50)
    whole = sk.encode_topk(*given, 5, path="plain")
    monkeypatch.setattr("sae_kernels.encode.SCRATCH", 4 * 100 * 7)
    assert SCRATCH > 4 * 100 * 7
    parts = sk.encode_topk(*given, 5, path="plain")
    assert torch.equal(parts.indices, whole.indices)
    nobody = sk.encode_topk(given.x[:0], given.weight, given.bias, 5)
    assert nobody.values.shape == (0, 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("capacity", [3, 100])
def test_the_threshold_form_is_the_plain_twin_also_in_crowded_tokens(
    problem: Make, kind: str, capacity: int
) -> None:
    given, limit = problem(40, kind=kind), torch.linspace(-1, 2, 100)
    more = {"threshold": limit, "scale": torch.linspace(2, 0.1, 100)}
    fast = sk.encode_topk(*given, capacity, **more, path="plain")
    plain = sk.encode_topk_plain(*given, capacity, **more)
    assert torch.equal(fast.indices, plain.indices)
    torch.testing.assert_close(fast.values, plain.values)


@pytest.mark.parametrize("latents", [100, 2000])
@pytest.mark.parametrize("path", ["plain", "twin"])
def test_nan_is_not_hidden(problem: Make, path: str, latents: int) -> None:
    given = problem(kind="nan", latents=latents)
    found = sk.encode_topk_plain(*given, 3) if path == "twin" else sk.encode_topk(*given, 3, path=path)
    assert found.values[0].isnan().all()
    assert found.values[-1].isnan().all()
    assert found.indices[0].tolist() == [0, 1, 2]
    assert not found.values[1:-1].isnan().any()


def test_a_pair_of_streams_is_their_joined_width(problem: Make) -> None:
    given = problem(width=32)
    joined = sk.encode_topk_plain(*given, 7)
    halves = (given.x[:, :16], given.x[:, 16:]), (given.weight[:16], given.weight[16:])
    for found in (sk.encode_topk(*halves, given.bias, 7), sk.encode_topk_plain(*halves, given.bias, 7)):
        assert torch.equal(found.indices, joined.indices)
        torch.testing.assert_close(found.values, joined.values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k = 0"),
        ({"k": 101}, "k = 101"),
        ({"bias": torch.zeros(3)}, "bias"),
        ({"weight": torch.zeros(3, 100)}, "width 24 and 3"),
        ({"weight": torch.zeros(24, 100).half()}, "types"),
        ({"x": torch.zeros(4, 24).double()}, "type torch.float64"),
        ({"x": (torch.zeros(4, 24),) * 2}, "pair"),
        ({"x": (torch.zeros(4, 24),) * 3}, "3 streams"),
        ({"x": torch.zeros(24)}, "two axes"),
    ],
)
def test_inputs_that_do_not_fit_are_told(problem: Make, change: dict[str, Any], message: str) -> None:
    given = {**problem()._asdict(), "k": 5, **change}
    with pytest.raises(sk.KernelError, match=message):
        sk.encode_topk(**given)


@pytest.mark.parametrize("path", ["fused", "chunked"])
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_choose_the_largest(problem: Make, venue: str, path: str, kind: str) -> None:
    dtype = torch.float32 if path == "chunked" or kind in ("random", "tied") else torch.bfloat16
    given = problem(10, device=venue, dtype=dtype, kind=kind)
    found = sk.encode_topk(*given, 6, path=path)
    holds(found, given, 6, rounding=1e-4)
    if kind == "tied":
        plain = sk.encode_topk_plain(*given, 6)
        assert torch.equal(found.indices, plain.indices), "of equal codes the lowest index"


@pytest.mark.parametrize("path", ["fused", "chunked"])
def test_kernels_take_a_pair_a_scale_and_a_threshold(problem: Make, venue: str, path: str) -> None:
    given = problem(9, width=32, latents=64, device=venue, dtype=torch.bfloat16)
    more = {
        "scale": torch.linspace(3, 0.1, 64, device=venue),
        "threshold": torch.linspace(-0.2, 0.4, 64, device=venue),
    }
    across = given.weight.T.contiguous().T
    halves = (given.x[:, :16], given.x[:, 16:]), (across[:16], across[16:])
    found = sk.encode_topk(*halves, given.bias, 5, path=path, **more)
    holds(found, given, 5, rounding=1e-3, **more)


@pytest.mark.parametrize("path", ["fused", "chunked"])
def test_kernels_do_not_hide_nan(problem: Make, venue: str, path: str) -> None:
    given = problem(6, latents=70, device=venue, kind="nan")
    found, plain = sk.encode_topk(*given, 4, path=path), sk.encode_topk_plain(*given, 4)
    assert torch.equal(found.indices.cpu(), plain.indices.cpu())
    torch.testing.assert_close(found.values, plain.values, equal_nan=True)


def test_every_row_that_needs_it_is_repaired_and_counted(problem: Make, venue: str) -> None:
    easy, hard = problem(20, device=venue), problem(20, device=venue, kind="sorted")
    found = sk.encode_topk(*hard, 6, path="fused")
    assert int(found.repairs) == 20, "all of the largest lie in one tile that kept two"
    holds(found, hard, 6, rounding=1e-5)
    none = sk.encode_topk(*easy, 1, path="fused")
    assert int(none.repairs) == 0
    holds(none, easy, 1, rounding=1e-5)


def test_kernels_repeat_to_the_bit(problem: Make, venue: str) -> None:
    given = problem(8, device=venue, dtype=torch.bfloat16, kind="duplicated")
    first, second = (sk.encode_topk(*given, 6, path="fused") for _ in range(2))
    assert torch.equal(first.indices, second.indices)
    assert torch.equal(first.values, second.values)


def test_a_row_with_too_many_survivors_is_read_again(problem: Make, venue: str) -> None:
    given = problem(2, latents=4096, device=venue, kind="sorted")
    late = given._replace(weight=given.weight.flip(1), bias=given.bias.flip(0))
    found = sk.encode_topk(*late, 4, path="chunked")
    assert int(found.repairs) == 2, "the bound from the first columns lets nearly all others pass"
    holds(found, late, 4, rounding=1e-5)


@pytest.mark.gpu
def test_scratch_memory_on_a_device_is_a_few_percent_of_the_dense_matrix(problem: Make) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    given = problem(8192, 1024, 32768, "cuda", torch.bfloat16)
    sk.encode_topk(*given, 64, path="fused")
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    found = sk.encode_topk(*given, 64, path="fused")
    extra = torch.cuda.max_memory_allocated() - before - found.values.nbytes - found.indices.nbytes
    assert extra < 0.1 * 2 * 8192 * 32768
