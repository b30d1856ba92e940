"""Compiles kernels for a device that is not there, and reads what the assembler made of them.

The interpreter runs kernels that a device's compiler refuses, or spills to memory; this is the gate for that.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,no-untyped-call,untyped-decorator"
# (Triton need not be there, has no types, and makes of a kernel's arguments what it will)

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sae_kernels.device import batch, candidates, compact, features, gather, select
from sae_kernels.device.jit import power_of_two

HOPPER = GPUTarget("cuda", 90, 32)
INTEGERS = (
    "N", "F", "C", "sx", "swc", "swf", "sx2", "swc2", "swf2", "tiles", "k", "wave", "K", "WIDTH", "stride",
    "X", "Y", "length", "mask",
)  # fmt: skip
POINTERS = {
    "*fp32": "values scale bias threshold pre codes gates weights to_codes out_codes out_decoder out_encoder "
    "out_bias out_gated part_decoder part_encoder part_bias part_gated",
    "*i32": "keys rank_of_row row_of_rank tiles_of_rank flags items counters extra bits counts prefix "
    "overflows",
    "*i64": "indices scratch columns order rows starts piece_starts feature_of slots",
    "*u8": "places ordinal",
    "*bf16": "weight out to_decoded x w decoder",
}


class Case(NamedTuple):
    """A kernel with its constants."""

    name: str
    kernel: Any
    constants: dict[str, Any]
    absent: tuple[str, ...] = ()
    """Pointers that are None."""
    warps: int = 4
    matrix: bool = False
    """Whether it must use the tensor cores."""


class Resources(NamedTuple):
    """What a kernel takes on the device."""

    registers: int
    stack: int
    """Bytes per thread in memory: spills."""
    shared: int
    wgmma: int
    """Warpgroup matrix instructions."""


def compiled(case: Case, stages: int = 3) -> Resources:
    """Compiles one kernel for Hopper; fails as Triton does where that is not possible."""
    signature, constants = {}, {}
    for at, name in enumerate(case.kernel.arg_names):
        if name in case.constants or name in case.absent:
            signature[name], constants[(at,)] = "constexpr", case.constants.get(name)
        else:
            signature[name] = _type(name, case.constants)
    source = ASTSource(case.kernel, signature, constants, {})
    made = triton.compile(source, target=HOPPER, options={"num_warps": case.warps, "num_stages": stages})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(made.asm["cubin"])
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        told = subprocess.run([tool, "-res-usage", file], capture_output=True, text=True, check=True).stdout  # noqa: S603
    registers, stack = (int(n) for n in re.findall(r"REG:(\d+) STACK:(\d+)", told)[0])
    return Resources(
        registers, stack, int(made.metadata.shared), made.asm["ptx"].count("wgmma.mma_async.sync")
    )


def _type(name: str, constants: dict[str, Any]) -> str:
    if name in INTEGERS:
        return "i32"
    if constants.get("TMA") and name in ("x", "x2"):
        return f"tensordesc<bf16[{constants['BM']},{constants['BK']}]>"
    if constants.get("TMA") and name in ("w", "w2"):
        block = (
            (constants["BN"], constants["BK"]) if constants["ACROSS"] else (constants["BK"], constants["BN"])
        )
        return f"tensordesc<bf16[{block[0]},{block[1]}]>"
    return next((kind for kind, names in POINTERS.items() if name in names.split()), "*bf16")


def _product(columns: int, *, packed: bool, across: bool = True, ragged: bool = False) -> dict[str, Any]:
    return {
        "BM": 128, "BN": columns, "BK": 64, "PACKED": packed, "TMA": True, "ACROSS": across, "RAGGED": ragged,
        "WIDEN": False, "PRECISION": "ieee",
    }  # fmt: skip


def _candidates(
    name: str,
    columns: int,
    *,
    packed: bool,
    flat: bool = False,
    absent: str = "x2 w2 threshold scale",
    **more: Any,
) -> Case:
    constants = {**_product(columns, packed=packed, **more), "KEEP": 4, "GROUP": 8, "FLAT": flat}
    gone = (*absent.split(), *(["places"] if packed else []))
    return Case(f"candidates {name}", candidates.candidates_kernel, constants, gone, columns // 32, True)


COMPACT = {"HEAD": 4096, "BLOCK": 2048, "CAPACITY": 2048, "K": 64, "KP": 64, "WIDEN": False}


def _features(width: int, warps: int) -> Case:
    constants = {"PIECE": features.PIECE, "BE": 2, "BX": width, "BY": width}
    return Case(f"features {width}", features.features_kernel, constants, ("weights",), warps)


def _selection(columns: int, latents: int, k: int = 64) -> list[Case]:
    tiles = latents // columns
    shared = {"BN": columns, "KEEP": 4, "K": k, "KP": k, "MOST": k // 4, "PACKED": True}
    first = power_of_two(tiles * 4)
    second = power_of_two(tiles * 4 + k // 4 * columns)
    absent = ("places", "scale", "floor")
    again = {**_product(columns, packed=True), "MOST": k // 4, "WAVE": 1024}
    gone, warps = ("x2", "w2", "threshold", "scale"), columns // 32
    chosen, anew = {**shared, "BM": 128, "LENGTH": first}, {**shared, "LENGTH": second, "WAVE": 1024}
    return [
        Case(f"select {columns}", select.select_kernel, chosen, absent, first // 512),
        Case(f"recompute {columns}", select.recompute_kernel, again, gone, warps, matrix=True),
        Case(f"reselect {columns}", select.reselect_kernel, anew, absent, second // 512),
    ]


CASES = (
    _candidates("128x128", 128, packed=True),
    _candidates("128x256", 256, packed=True),
    _candidates("128x128, all bits", 128, packed=False),
    _candidates("128x256, all bits", 256, packed=False),
    _candidates("128x256, weights [C, F]", 256, packed=True, across=False),
    _candidates("128x256, ragged F", 256, packed=True, ragged=True),
    _candidates("128x256, scale", 256, packed=True, absent="x2 w2 threshold"),
    _candidates("128x256, threshold", 256, packed=True, absent="x2 w2 scale"),
    _candidates("128x128, paired, scale", 128, packed=True, absent="threshold"),
    _candidates("128x256, paired, scale", 256, packed=True, absent="threshold"),
    _candidates("128x128, persistent", 128, packed=True, flat=True),
    _candidates("128x256, persistent", 256, packed=True, flat=True),
    *_selection(128, 24576, 32),
    *_selection(256, 65536),
    Case("count", batch.count_kernel, {"SHIFT": 20, "BITS": 11, "BLOCK": batch.BLOCK}, warps=8),
    Case("compact", compact.compact_kernel, COMPACT, ("threshold", "scale")),
    Case("decode", gather.decode_kernel, {"BE": 4, "BW": 1024, "WIDEN": False}, ("starts",)),
    _features(1024, 4),
    _features(4096, 8),
    _features(8192, 8),
    Case("pieces 8192", features.pieces_kernel, {"BX": 8192, "BY": 8192}, warps=8),
)
