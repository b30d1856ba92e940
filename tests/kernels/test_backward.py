"""backward and autoencode: against dense products and torch's own gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sae_kernels as sk
import torch

Make = Callable[..., Any]
FORMS = ("full", "padded", "ragged", "dense")


def codes_of(given: Any, form: str) -> Any:
    if form == "ragged":
        return sk.encode_batchtopk(*given, 40, path="plain")
    return sk.encode_topk(*given, 6, path="plain")


def drawn(problem: Make, form: str, device: str = "cpu") -> tuple[Any, Any]:
    kind = {"padded": "few", "dense": "dense"}.get(form, "random")
    given = problem(14, device=device, kind=kind)
    return given, codes_of(given, form)


def compare(found: sk.Gradients, plain: sk.Gradients) -> None:
    for name, mine, theirs in zip(found._fields, found, plain, strict=True):
        torch.testing.assert_close(
            mine, theirs, rtol=1e-4, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("extras", [False, True])
def test_the_cpu_path_is_the_plain_twin(problem: Make, form: str, extras: bool) -> None:
    given, codes = drawn(problem, form)
    pull, decoder = torch.randn(14, 18), torch.randn(100, 18)
    more = (
        {name: torch.rand_like(codes.values) for name in ("to_codes", "gates", "weights")} if extras else {}
    )
    compare(
        sk.backward(codes, pull, given.x, decoder, **more),
        sk.backward_plain(codes, pull, given.x, decoder, **more),
    )


@pytest.mark.parametrize("form", FORMS)
def test_autoencode_has_torchs_own_gradients(problem: Make, form: str) -> None:
    given, codes = drawn(problem, form)
    leaves = [given.x, given.weight.T.contiguous(), given.bias, torch.randn(100, 18)]
    mine, plain = ([leaf.clone().requires_grad_() for leaf in leaves] for _ in range(2))
    pull = torch.randn(14, 18)
    there = (codes.columns if form == "ragged" else codes.indices) >= 0
    for out, leaf in ((sk.autoencode(*mine, codes), mine), (sk.autoencode_plain(*plain, codes), plain)):
        assert out.decoded.shape == (14, 18)
        loss = (out.decoded * pull).sum() + (out.values[there] ** 2).sum()
        loss.backward()
        assert all(part.grad is not None for part in leaf)
    for a, b in zip(mine, plain, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("path", ["auto", "plain"])
def test_torch_compile_works_around_the_operations(problem: Make, path: str) -> None:
    given, decoder = problem(), torch.randn(100, 24)

    def step(
        x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, decoder: torch.Tensor
    ) -> torch.Tensor:
        with torch.no_grad():
            codes = sk.encode_topk(x, weight.T, bias, 5, path=path)
            batch = sk.encode_batchtopk(x, weight.T, bias, 50, path=path)
        first = sk.autoencode(x, weight, bias, decoder, codes, path=path).decoded
        return (x - first).square().sum() + (x - sk.decode(batch, decoder, path=path)).square().sum()

    leaves = [given.weight.T.contiguous(), given.bias, decoder]
    both = [[leaf.clone().requires_grad_() for leaf in leaves] for _ in range(2)]
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    losses = [run(given.x, *parts) for run, parts in zip((step, compiled), both, strict=True)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[1], losses[0])
    for mine, theirs in zip(both[1], both[0], strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_operations_keep_torchs_rules(problem: Make) -> None:
    given, codes = drawn(problem, "full")
    decoder = torch.randn(100, 24)
    encoder = given.weight.T.contiguous()
    tests = ("test_schema", "test_faketensor")
    ops = torch.ops.sae_kernels
    torch.library.opcheck(
        ops.encode_topk,
        (given.x, None, given.weight, None, given.bias, None, None, 5, "plain"),
        test_utils=tests,
    )
    torch.library.opcheck(
        ops.encode_batchtopk,
        (given.x, None, given.weight, None, given.bias, None, 50, 20, "plain"),
        test_utils=tests,
    )
    torch.library.opcheck(
        ops.decode, (codes.values, codes.indices, None, decoder, None, "plain"), test_utils=tests
    )
    torch.library.opcheck(
        ops.autoencode,
        (given.x, encoder, given.bias, decoder, codes.values, codes.indices, None, "plain"),
        test_utils=tests,
    )


def test_weights_with_no_row_per_latent_are_told(problem: Make) -> None:
    given, codes = drawn(problem, "full")
    with pytest.raises(sk.KernelError, match="row per latent"):
        sk.autoencode(given.x, given.weight, given.bias, torch.randn(100, 24), codes)


@pytest.mark.parametrize("form", FORMS)
def test_kernels_give_the_plain_gradients(problem: Make, venue: str, form: str) -> None:
    given, codes = drawn(problem, form, venue)
    pull, decoder = torch.randn(14, 18).to(venue), torch.randn(100, 18).to(venue)
    more = {} if form == "full" else {"weights": torch.rand_like(codes.values)}
    compare(
        sk.backward(codes, pull, given.x, decoder, path="fused", **more),
        sk.backward_plain(codes, pull, given.x, decoder, **more),
    )


def test_a_frequent_latent_is_cut_into_pieces(problem: Make, venue: str) -> None:
    from sae_kernels.decode import rows_of
    from sae_kernels.device.features import feature_gradients

    given, codes = drawn(problem, "dense", venue)
    pull, decoder = torch.randn(14, 18).to(venue), torch.randn(100, 18).to(venue)
    flat = codes.values.flatten()
    gates = (flat > 0).float()
    rows = rows_of(codes.indices, None)
    first, second = (
        feature_gradients(
            flat, gates, gates, None, codes.indices.flatten(), rows, pull, given.x, decoder, piece=4
        )
        for _ in range(2)
    )
    compare(
        first._replace(codes=first.codes.view_as(codes.values)),
        sk.backward_plain(codes, pull, given.x, decoder, weights=gates),
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), "no atomics: the same bits"
