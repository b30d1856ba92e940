"""What the fused encode allocates, counted without a device: every tensor is made, no kernel is run."""

from __future__ import annotations

import importlib.util
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: nothing is launched here", allow_module_level=True)

from sae_kernels.device import encode
from sae_kernels.dispatch import configurations


class Case(NamedTuple):
    """A shape, and the largest share of the dense matrix in bfloat16 that its encode may take."""

    tokens: int
    width: int
    latents: int
    k: int
    streams: int
    share: float


CASES = [
    Case(16384, 4096, 65536, 64, 1, 0.05),
    Case(8192, 4096, 65536, 64, 2, 0.05),
    Case(8192, 2304, 16384, 64, 1, 0.11),
    Case(4096, 768, 24576, 32, 1, 0.09),
]
"""Smaller matrices have results and candidates of a larger share: a tile's four of 128 are 6 % already."""


class Counting(TorchDispatchMode):
    """Sums the bytes of all tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if function.overloadpacket in (torch.ops.aten.empty, torch.ops.aten.zeros, torch.ops.aten.empty_like):
            self.bytes += out.numel() * out.element_size()
        return out


class Nothing:
    """Stands where a kernel does."""

    def __getitem__(self, grid: Any) -> Any:
        return lambda *args, **constants: None


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("candidates_kernel", "select_kernel", "recompute_kernel", "reselect_kernel"):
        monkeypatch.setattr(encode, name, Nothing())
    monkeypatch.setattr(encode, "_described", lambda *args: None)
    monkeypatch.setattr(encode, "processors", lambda like: 132)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.tokens}x{case.width}x{case.latents}")
def test_the_encode_takes_a_small_share_of_the_dense_matrix(no_kernels: None, case: Case) -> None:
    fused = next(configurations("sm90", torch.bfloat16, case.tokens, case.latents))
    x = torch.empty(case.tokens, case.width, dtype=torch.bfloat16, device="meta")
    weight = torch.empty(case.width, case.latents, dtype=torch.bfloat16, device="meta")
    second = (x, weight) if case.streams == 2 else (None, None)
    problem = encode.Problem(x, second[0], weight, second[1], None, None, None)
    with Counting() as counted:
        encode.encode_fused(problem, case.k, fused)
    dense = 2 * case.tokens * case.latents
    assert case.k * case.tokens * 12 < counted.bytes < case.share * dense


def test_a_dense_matrix_would_be_seen() -> None:
    with Counting() as counted:
        torch.empty(100, 100, dtype=torch.bfloat16, device="meta")
    assert counted.bytes == 20_000
