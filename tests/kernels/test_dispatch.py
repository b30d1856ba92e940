"""dispatch: which path is taken, why, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import sae_kernels as sk
import torch
from sae_kernels import dispatch

REASONS = [(None, "not installed"), ((3, 5), "older than 3.6"), ((3, 7), "no kernels for cpu")]


@pytest.mark.parametrize(("version", "reason"), REASONS)
def test_without_triton_or_a_device_it_is_plain(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int] | None, reason: str
) -> None:
    if reason == "no kernels for cpu":
        pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setattr(dispatch, "triton_version", lambda: version)
    x, weight = torch.zeros(3, 4), torch.zeros(4, 8)
    chosen = sk.plan(x, weight, 2)
    assert chosen.path == "plain"
    assert reason in chosen.reason
    with pytest.raises(sk.KernelError, match="path fused cannot run"):
        sk.plan(x, weight, 2, "fused")
    with pytest.raises(sk.KernelError, match="path chunked cannot run"):
        sk.decode(sk.encode_topk(x, weight, None, 2), torch.zeros(8, 4), path="chunked")
    assert sk.plan(x, weight, 2, "plain").reason


def test_unknown_paths_are_told() -> None:
    with pytest.raises(sk.KernelError, match="no such path: fast"):
        sk.plan(torch.zeros(3, 4), torch.zeros(4, 8), 2, "fast")


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if kernels could run."""
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setattr(dispatch, "_missing", lambda x: None)
    monkeypatch.setattr(dispatch, "_architecture", lambda x: "sm90")


@pytest.mark.parametrize(
    ("latents", "k", "path", "reason"),
    [
        (65536, 64, "fused", "everything fits"),
        (24576, 32, "fused", "everything fits"),
        (1024, 64, "chunked", "few for k = 64"),
        (2**20, 64, "chunked", "do not fit in registers"),
        (65536, 512, "chunked", "does not fit in registers"),
        (65536, 96, "fused", "everything fits"),
        (2**19, 4096, "chunked", "do not fit in registers"),
    ],
)
def test_the_path_follows_from_the_shape(ready: None, latents: int, k: int, path: str, reason: str) -> None:
    x = torch.zeros(16, 8, dtype=torch.bfloat16)
    chosen = sk.plan(x, torch.empty(8, latents, device="meta"), k)
    assert chosen.path == path
    assert reason in chosen.reason
    assert (chosen.fused is not None) == (path == "fused")


def test_what_cannot_be_is_refused_and_what_is_unwise_is_not(ready: None) -> None:
    x = torch.zeros(16, 8, dtype=torch.bfloat16)
    assert sk.plan(x, torch.empty(8, 1024, device="meta"), 64, "fused").fused is not None
    assert dispatch.plan_encode(16, x, torch.empty(8, 65536, device="meta"), 64, capacity=256).path == "fused"
    with pytest.raises(sk.KernelError, match="number their tiles"):
        dispatch.plan_encode(16, x, torch.empty(8, 65536, device="meta"), 64, "fused", capacity=2048)
    with pytest.raises(sk.KernelError, match="registers"):
        sk.plan(x, torch.empty(8, 2**20, device="meta"), 64, "fused")


@pytest.mark.parametrize("architecture", ["sm90", "sm80", "interpreter"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_file_has_constants_for_every_type(architecture: str, dtype: Any) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    for tokens in (1, 4096, 16384):
        for latents in (512, 24576, 65536):
            fused = next(dispatch.configurations(architecture, dtype, tokens, latents))
            assert fused.columns <= 256
            assert fused.columns & (fused.columns - 1) == 0
    wide = next(dispatch.configurations("sm90", torch.bfloat16, 16384, 65536))
    small = next(dispatch.configurations("sm90", torch.bfloat16, 4096, 24576))
    assert (wide.columns, small.columns) == (256, 128)
