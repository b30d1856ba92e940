"""Which path an encode takes, and with which constants: by shape, device and Triton, never by timing.

Constants come from files in configs/: `sm90.json` for compute capability 9.0, `default.json` for the rest.
The first entry whose conditions hold is taken. Nothing is tuned while it runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sae_kernels.errors import KernelError

if TYPE_CHECKING:
    from sae_kernels.device.encode import Fused

PATHS = ("auto", "fused", "chunked", "plain")
"""fused: candidates in the product's epilogue, certificate, repair; chunked: a product and a compaction, some
tokens at a time; plain: PyTorch."""
OLDEST = (3, 6)
"""Triton's oldest version that this was compiled with."""
LONGEST = 8192
"""Scores of a row that fit in the registers of one program."""


@dataclass(frozen=True)
class Plan:
    """The path an encode takes."""

    path: str
    reason: str
    """Why this one."""
    fused: Fused | None = None
    """Constants of the fused path."""


def plan(x: Tensor, weight: Tensor, k: int, path: str = "auto") -> Plan:
    """What `encode_topk` and the rest would do with these inputs; see there for the arguments."""
    return plan_encode(len(x), x, weight, k, path)


def plan_encode(
    tokens: int, x: Tensor, weight: Tensor, k: int, path: str = "auto", capacity: int | None = None
) -> Plan:
    """As `plan`; with a capacity, a token may have that many and k is their average.

    Raises:
        KernelError: there is no such path, or it cannot take these inputs.
    """
    if path not in PATHS:
        raise KernelError(f"no such path: {path}", where="path", fix=f"use one of {', '.join(PATHS)}")
    missing = _missing(x)
    if path == "plain" or (path == "auto" and missing):
        return Plan("plain", missing or "asked for")
    if missing:
        raise KernelError(f"the path {path} cannot run: {missing}", where="path", fix="use plain")
    if path == "chunked":
        return Plan("chunked", "asked for")
    return _fused(tokens, x, weight.shape[1], k, capacity, asked=path == "fused")


def runs_kernels(x: Tensor, path: str) -> bool:
    """Whether decode and backward run as kernels; they have no other choice to make.

    Raises:
        KernelError: there is no such path, or kernels cannot run on this tensor.
    """
    if path not in PATHS:
        raise KernelError(f"no such path: {path}", where="path", fix=f"use one of {', '.join(PATHS)}")
    if path == "plain":
        return False
    missing = _missing(x)
    if missing and path != "auto":
        raise KernelError(f"the path {path} cannot run: {missing}", where="path", fix="use plain")
    return missing is None


def _fused(tokens: int, x: Tensor, latents: int, k: int, capacity: int | None, *, asked: bool) -> Plan:
    obstacle = "there is no configuration"
    for fused in configurations(_architecture(x), x.dtype, tokens, latents):
        obstacle = _impossible(fused, latents, k, capacity) or ""
        if not obstacle:
            against = None if asked else _unwise(fused, x, latents, k)
            if against:
                return Plan("chunked", against)
            return Plan("fused", "asked for" if asked else "everything fits", fused)
    if asked:
        raise KernelError(f"the path fused cannot run: {obstacle}", where="path", fix="use auto or chunked")
    return Plan("chunked", obstacle)


def _impossible(fused: Fused, latents: int, k: int, capacity: int | None) -> str | None:
    candidates = -(-latents // fused.columns) * fused.keep
    if candidates > LONGEST // 2:
        return f"{candidates} candidates of a token do not fit in registers"
    if (capacity or k) // fused.keep > 255:
        return f"{capacity or k} codes of a token are too many to number their tiles in a byte"
    if capacity is None and repairable(fused, latents, k) < k // fused.keep:
        return f"the repair of a token with k = {k} does not fit in registers"
    return None


def repairable(fused: Fused, latents: int, k: int) -> int:
    """Saturated tiles of a token that its repair has room for; k codes cannot saturate more than k / keep."""
    candidates = -(-latents // fused.columns) * fused.keep
    return max(1, min(k // fused.keep, (LONGEST - candidates) // fused.columns))


def _unwise(fused: Fused, x: Tensor, latents: int, k: int) -> str | None:
    candidates = -(-latents // fused.columns) * fused.keep
    if candidates < 4 * k:
        return f"{candidates} candidates per token are few for k = {k}: most tokens would be repaired"
    if x.is_cuda and x.dtype == torch.float32 and fused.precision == "ieee":
        return "exact float32 products are faster in the vendor's library"
    return None


def _missing(x: Tensor) -> str | None:
    """Why Triton cannot run on this tensor, if so."""
    version = triton_version()
    if version is None:
        return "Triton is not installed"
    if version < OLDEST:
        return f"Triton {version[0]}.{version[1]} is older than {OLDEST[0]}.{OLDEST[1]}"
    from sae_kernels.device.jit import INTERPRETED

    if INTERPRETED and not x.is_cuda:
        return None
    if not x.is_cuda:
        return f"no kernels for {x.device.type}"
    if torch.cuda.get_device_capability(x.device) < (8, 0):
        return "the device is older than compute capability 8.0"
    return None


@cache
def triton_version() -> tuple[int, int] | None:
    """Major and minor version of Triton, if it is there."""
    try:
        major, minor = version("triton").split(".")[:2]
    except PackageNotFoundError:
        return None
    return int(major), int(minor)


def _architecture(x: Tensor) -> str:
    if not x.is_cuda:
        return "interpreter"
    major, minor = torch.cuda.get_device_capability(x.device)
    return f"sm{major}{minor}"


def configurations(architecture: str, dtype: torch.dtype, tokens: int, latents: int) -> Iterator[Fused]:
    """Entries of the architecture's file, or of the default's, whose conditions hold; best first."""
    from sae_kernels.device.encode import Fused

    precision = {"highest": "ieee", "high": "tf32x3", "medium": "tf32"}
    name = str(dtype).removeprefix("torch.")
    for entry in _entries(architecture):
        when = entry["when"]
        enough = tokens >= when.get("tokens", 0) and latents >= when.get("latents", 0)
        if enough and name in when.get("types", [name]):
            yield Fused(**entry["fused"], precision=precision[torch.get_float32_matmul_precision()])


@cache
def _entries(architecture: str) -> list[dict[str, Any]]:
    folder = files("sae_kernels") / "configs"
    file = folder / f"{architecture}.json"
    chosen = file if file.is_file() else folder / "default.json"
    return list(json.loads(chosen.read_text(encoding="utf-8"))["encode"])
