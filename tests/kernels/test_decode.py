"""decode: against dense products, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sae_kernels as sk
import torch

Make = Callable[..., Any]


def codes_of(problem: Make, form: str, device: str = "cpu") -> Any:
    given = problem(11, device=device, kind="few" if form == "padded" else "random")
    if form == "ragged":
        return sk.encode_batchtopk(*given, 40, path="plain")
    return sk.encode_topk(*given, 6, path="plain")


@pytest.mark.parametrize("form", ["full", "padded", "ragged"])
@pytest.mark.parametrize("shape", [(33,), (2, 17)])
def test_the_cpu_path_is_a_dense_product(problem: Make, form: str, shape: tuple[int, ...]) -> None:
    codes = codes_of(problem, form)
    weight, bias = torch.randn(100, *shape), torch.randn(*shape)
    found = sk.decode(codes, weight, bias)
    assert found.shape == (11, *shape)
    torch.testing.assert_close(found, sk.decode_plain(codes, weight, bias))
    torch.testing.assert_close(sk.decode(codes, weight.bfloat16()), sk.decode_plain(codes, weight.bfloat16()))


@pytest.mark.parametrize("form", ["full", "padded", "ragged"])
def test_gradients_are_those_of_the_dense_product(problem: Make, form: str) -> None:
    codes = codes_of(problem, form)
    leaves = [codes.values.clone(), torch.randn(100, 9), torch.randn(9)]
    mine, plain = ([leaf.clone().requires_grad_() for leaf in leaves] for _ in range(2))
    pull = torch.randn(11, 9)
    sk.decode(codes._replace(values=mine[0]), mine[1], mine[2]).backward(pull)
    sk.decode_plain(codes._replace(values=plain[0]), plain[1], plain[2]).backward(pull)
    there = (codes.indices if form != "ragged" else codes.columns) >= 0
    torch.testing.assert_close(mine[0].grad[there], plain[0].grad[there])
    torch.testing.assert_close(mine[1].grad, plain[1].grad)
    torch.testing.assert_close(mine[2].grad, plain[2].grad)


def test_no_codes_decode_to_the_bias(problem: Make) -> None:
    codes = sk.encode_topk(*problem(kind="negative"), 3)
    torch.testing.assert_close(sk.decode(codes, torch.randn(100, 4), torch.ones(4)), torch.ones(12, 4))
    batch = sk.encode_batchtopk(*problem(kind="negative"), 3)
    torch.testing.assert_close(sk.decode(batch, torch.randn(100, 4)), torch.zeros(12, 4))


def test_inputs_that_do_not_fit_are_told(problem: Make) -> None:
    codes = codes_of(problem, "full")
    with pytest.raises(sk.KernelError, match="bias"):
        sk.decode(codes, torch.randn(100, 4), torch.zeros(5))
    with pytest.raises(sk.KernelError, match="no such path"):
        sk.decode(codes, torch.randn(100, 4), path="quick")


@pytest.mark.parametrize("form", ["full", "padded", "ragged"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_decode(problem: Make, venue: str, form: str, dtype: torch.dtype) -> None:
    codes = codes_of(problem, form, venue)
    weight, bias = torch.randn(100, 2, 20).to(venue, dtype), torch.randn(2, 20).to(venue, dtype)
    found, plain = sk.decode(codes, weight, bias, path="fused"), sk.decode_plain(codes, weight, bias)
    rounding = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, plain, rtol=rounding, atol=rounding)
