"""Launches of the fused encode: candidates, selection, repair."""
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,no-untyped-call,untyped-decorator"
# (Triton need not be there, has no types, and makes of a kernel's arguments what it will)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from sae_kernels.device.candidates import candidates_kernel
from sae_kernels.device.jit import INTERPRETED, on, power_of_two, processors
from sae_kernels.device.select import recompute_kernel, reselect_kernel, select_kernel


@dataclass(frozen=True)
class Fused:
    """Constants of the fused encode; a file of tuned configurations holds these fields."""

    rows: int = 128
    """Rows of a tile."""
    columns: int = 128
    """Latents of a tile, at most 256: a column is stored in 8 bits."""
    depth: int = 64
    """Input width that one step of the product takes."""
    keep: int = 4
    """Candidates of a tile and row."""
    group: int = 8
    """Row blocks that walk over the latents together, so that weights stay in the L2 cache."""
    warps: int = 4
    stages: int = 3
    persistent: int = 0
    """Programs per multiprocessor that share all tiles; 0: a program for each tile."""
    packed: bool = True
    """Whether a candidate is one int32; always false for float32 inputs."""
    wave: int = 1024
    """Rows that are repaired at a time."""
    precision: str = "ieee"
    """Of float32 products: ieee, tf32x3 or tf32."""


class Problem(NamedTuple):
    """The inputs of an encode."""

    a: Tensor
    b: Tensor | None
    u: Tensor
    v: Tensor | None
    bias: Tensor | None
    threshold: Tensor | None
    scale: Tensor | None


class Candidates(NamedTuple):
    """Largest scores of each tile."""

    keys: Tensor
    """int32 [N, tiles, keep]."""
    places: Tensor | None
    """uint8, the same shape: columns within the tile, where keys are not packed."""


class Launch(NamedTuple):
    """What the product's kernels are called with."""

    inputs: tuple[Any, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    constants: dict[str, Any]
    options: dict[str, int]


def launch_of(problem: Problem, fused: Fused) -> Launch:
    """Lays the inputs out for the kernels: descriptors of the bulk copy engine where it can read them."""
    a, b, u, v, bias, threshold, scale = problem
    tokens, width = a.shape
    latents = u.shape[1]
    across = u.stride(0) == 1 and (v is None or v.stride(0) == 1)
    u, v = _laid(u, across), None if v is None else _laid(v, across)
    a, b = a.contiguous(), None if b is None else b.contiguous()
    matrices = [part.T if across else part for part in (u, v) if part is not None]
    tma = all(map(_copyable, [a, *([] if b is None else [b]), *matrices]))
    x = [_described(part, (fused.rows, fused.depth), tma) for part in (a, b)]
    block = (fused.columns, fused.depth) if across else (fused.depth, fused.columns)
    w = [_described(part if part is None or not across or not tma else part.T, block, tma) for part in (u, v)]
    strides: list[int] = []
    for activations, weights in ((a, u), (b, v)):
        if activations is None or weights is None:
            strides += [0, 0, 0]
        else:
            strides += [activations.stride(0), *weights.stride()]
    constants = {
        "BM": fused.rows, "BN": fused.columns, "BK": fused.depth, "TMA": tma, "ACROSS": across,
        "RAGGED": latents % fused.columns != 0, "WIDEN": INTERPRETED, "PRECISION": fused.precision,
        "PACKED": fused.packed and a.dtype != torch.float32,
    }  # fmt: skip
    extras = tuple(None if part is None else part.float().contiguous() for part in (bias, threshold, scale))
    return Launch(
        (x[0], w[0], x[1], w[1], *extras),
        (tokens, latents, width),
        tuple(strides),
        constants,
        {"num_warps": fused.warps, "num_stages": fused.stages},
    )


def candidates(launch: Launch, fused: Fused, like: Tensor) -> Candidates:
    """Runs the product; `like` is on its device."""
    tokens, latents, _ = launch.sizes
    tiles = triton.cdiv(latents, fused.columns)
    keys = torch.empty(tokens, tiles, fused.keep, dtype=torch.int32, device=like.device)
    packed = launch.constants["PACKED"]
    places = None if packed else torch.empty_like(keys, dtype=torch.uint8)
    programs = triton.cdiv(tokens, fused.rows) * tiles
    if fused.persistent:
        programs = min(programs, fused.persistent * processors(like))
    with on(like):
        candidates_kernel[(programs,)](
            *launch.inputs, keys, places, *launch.sizes, *launch.strides,
            KEEP=fused.keep, GROUP=fused.group, FLAT=fused.persistent > 0,
            **launch.constants, **launch.options,
        )  # fmt: skip
    return Candidates(keys, places)


class Selected(NamedTuple):
    """Codes, and how many rows were repaired."""

    values: Tensor
    indices: Tensor
    repairs: Tensor
    unrepaired: Tensor
    """Rows with more saturated tiles than there was room for; none, unless a `most` was given."""


def select(
    launch: Launch,
    found: Candidates,
    fused: Fused,
    k: int,
    floor: Tensor | None,
    scale: Tensor | None,
    most: int | None = None,
) -> Selected:
    """The k largest per row, exact: repairs what cannot be certified.

    `floor`, int32 [1], is the bits of the least score that may be chosen; without it all above zero may.
    `most` is how many saturated tiles of a row there is room for, if not for as many as there can be.
    """
    keys, places = found
    tokens, tiles, keep = keys.shape
    device, most = keys.device, most or max(1, k // keep)
    values = torch.empty(tokens, k, dtype=torch.float32, device=device)
    indices = torch.empty(tokens, k, dtype=torch.int64, device=device)
    ranks, rows = (torch.empty(tokens, dtype=torch.int32, device=device) for _ in range(2))
    ordinal = torch.empty(tokens, tiles, dtype=torch.uint8, device=device)
    tiles_of_rank = torch.empty(tokens, most, dtype=torch.int32, device=device)
    blocks = triton.cdiv(tokens, fused.rows)
    cleared = torch.zeros(3 + blocks * tiles, dtype=torch.int32, device=device)
    counters, flags = cleared[:3], cleared[3:]
    items = torch.empty_like(flags)
    shared = {
        "BN": fused.columns, "KEEP": keep, "K": k, "KP": max(16, power_of_two(k)), "MOST": most,
        "PACKED": launch.constants["PACKED"],
    }  # fmt: skip
    length = power_of_two(tiles * keep)
    with on(keys):
        select_kernel[(tokens,)](
            keys, places, values, indices, scale, floor, ranks, rows, ordinal, tiles_of_rank, flags, items,
            counters, tiles, k, BM=fused.rows, LENGTH=length, num_warps=_warps(length), **shared,
        )  # fmt: skip
        if k >= keep:
            repair = _Repair(ranks, rows, ordinal, tiles_of_rank, items, counters)
            out = Selected(values, indices, counters[0], counters[2])
            _repair(launch, found, fused, k, floor, scale, out, repair, shared)
    return Selected(values, indices, counters[0], counters[2])


class _Repair(NamedTuple):
    ranks: Tensor
    rows: Tensor
    ordinal: Tensor
    tiles_of_rank: Tensor
    items: Tensor
    counters: Tensor


def _repair(
    launch: Launch, found: Candidates, fused: Fused, k: int, floor: Tensor | None, scale: Tensor | None,
    out: Selected, todo: _Repair, shared: dict[str, Any],
) -> None:  # fmt: skip
    tokens, tiles, keep = found.keys.shape
    wave, most = min(fused.wave, tokens), shared["MOST"]
    extra = torch.empty(wave, most, fused.columns, dtype=torch.int32, device=found.keys.device)
    length = power_of_two(tiles * keep + most * fused.columns)
    programs = 2 * processors(found.keys)
    for number in range(triton.cdiv(tokens, wave)):
        recompute_kernel[(programs,)](
            *launch.inputs, todo.ranks, todo.ordinal, todo.items, todo.counters, extra, number,
            *launch.sizes, *launch.strides, MOST=most, WAVE=wave, **launch.constants, **launch.options,
        )  # fmt: skip
        reselect_kernel[(wave,)](
            *found, out.values, out.indices, scale, floor, todo.rows, todo.ordinal, todo.tiles_of_rank,
            todo.counters, extra, number, tiles, k, LENGTH=length, WAVE=wave,
            num_warps=_warps(length), **shared,
        )  # fmt: skip


def encode_fused(problem: Problem, k: int, fused: Fused) -> Selected:
    """The whole of it."""
    launch = launch_of(problem, fused)
    found = candidates(launch, fused, problem.a)
    return select(launch, found, fused, k, None, launch.inputs[-1])


def _laid(part: Tensor, across: bool) -> Tensor:
    if across or part.stride(1) == 1:
        return part
    return part.contiguous()


def _copyable(matrix: Tensor) -> bool:
    """Whether the bulk copy engine takes it: Hopper, 16-byte rows and start."""
    if matrix.is_cuda and torch.cuda.get_device_capability(matrix.device) < (9, 0):
        return False
    size = matrix.element_size()
    return matrix.stride(1) == 1 and (matrix.stride(0) * size) % 16 == 0 and matrix.data_ptr() % 16 == 0


def _described(matrix: Tensor | None, block: tuple[int, int], tma: bool) -> Any:
    if matrix is None or not tma:
        return matrix
    return TensorDescriptor.from_tensor(matrix, list(block))


def _warps(length: int) -> int:
    """A row's entries lie in registers: at most 16 a thread, since each needs several."""
    return min(16, max(1, length // 512))
