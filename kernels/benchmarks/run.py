"""Times every operation beside its rivals and writes one CSV.

Run: python kernels/benchmarks/run.py [--out results/DEVICE.csv] [--ops encode decode ...] [--trained FILE]
[--seconds 0.5] [--threads 1]. On a CUDA device the shapes are those of real dictionaries, in bfloat16; on a
CPU they are small, in float32, and the table only shows that everything runs. Rivals that are not installed
are left out. Inputs are random; `--trained` takes a safetensors file with W_enc, b_enc and W_dec, whose
columns are not alike, for the shape that it has.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from encode import matrix_product
from shapes import CPU, DEVICE, Inputs, Shape, inputs
from timing import timed

OPS = ("encode", "batchtopk", "decode", "backward", "auxk", "jumprelu")
COLUMNS = (
    "op", "impl", "shape", "dtype", "device", "torch", "triton", "ms_p20", "ms_p50", "ms_p80", "gemm_ms",
    "pct_of_gemm", "repairs", "peak_mb", "path",
)  # fmt: skip


def rows(shape: Shape, ops: list[str], device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """One row per implementation of each operation."""
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    given = inputs(shape, device, dtype)
    product = timed(matrix_product(given), device, seconds).p50
    for op in ops:
        for name, call in importlib.import_module(op).implementations(shape, given):
            yield {
                "op": op,
                "impl": name,
                "shape": shape.name,
                **measured(call, device, seconds, product),
            } | facts(given, shape, name)


def measured(call: Any, device: str, seconds: float, product: float) -> dict[str, Any]:
    """Numbers of one call; its message where it fails, since rivals may."""
    try:
        result = call()
        found = timed(call, device, seconds)
    except (RuntimeError, ValueError, TypeError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return {"ms_p50": "failed"}
    repairs = getattr(result, "repairs", None)
    return {
        "ms_p20": f"{found.p20:.4f}",
        "ms_p50": f"{found.p50:.4f}",
        "ms_p80": f"{found.p80:.4f}",
        "gemm_ms": f"{product:.4f}",
        "pct_of_gemm": f"{100 * product / found.p50:.1f}",
        "repairs": "" if repairs is None else int(repairs),
        "peak_mb": "" if math.isnan(found.peak_mb) else f"{found.peak_mb:.1f}",
    }


def facts(given: Inputs, shape: Shape, name: str) -> dict[str, str]:
    """What was run on."""
    import sae_kernels as sk
    from sae_kernels.dispatch import triton_version

    triton = triton_version()
    path = sk.plan(given.x, given.encoder.T, shape.k).path if name == "sae_kernels" else ""
    return {
        "dtype": str(given.x.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name() if given.x.is_cuda else "cpu",
        "torch": torch.__version__,
        "triton": "" if triton is None else ".".join(map(str, triton)),
        "path": path,
    }


def shapes(device: str, trained: str | None) -> tuple[Shape, ...]:
    """The list, and the trained dictionary's."""
    chosen = CPU if device == "cpu" else DEVICE
    if trained is None:
        return chosen
    from safetensors import safe_open

    with safe_open(trained, framework="pt") as file:
        width, latents = file.get_slice("W_enc").get_shape()
    return (*chosen, Shape(8192 if device != "cpu" else 512, width, latents, 64, trained=trained))


def main() -> None:
    """Writes the CSV and says where."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--ops", nargs="+", choices=OPS, default=list(OPS))
    parser.add_argument("--trained", default=None)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on a CPU")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    named = (torch.cuda.get_device_name() if device == "cuda" else "cpu").lower().replace(" ", "-")
    out = chosen.out or Path(__file__).parent / "results" / f"{named}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        for shape in shapes(device, chosen.trained):
            for row in rows(shape, chosen.ops, device, chosen.seconds):
                table.writerow(row)
                file.flush()
                sys.stdout.write(
                    f"{row['op']:<10} {row['shape']:<30} {row['impl']:<22} {row.get('ms_p50', ''):>10} ms "
                    f"{row.get('pct_of_gemm', ''):>6} % of the product, {row.get('path', '')}\n"
                )
                sys.stdout.flush()
    sys.stdout.write(f"{out}\n")


if __name__ == "__main__":
    main()
