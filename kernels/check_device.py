"""Checks and times everything on a GPU machine in one go, within ten minutes.

Run: PYTHONPATH=kernels python kernels/check_device.py --out FOLDER [--minutes 9]

1. Every operation against its plain twin on the device, with columns that break naive selection.
2. Constants of the fused encode at the shapes of the benchmark, against the vendor's matrix product:
   FOLDER/sweep.csv; the best of each shape are what configs/ should hold.
3. The parts of the fused encode at the first shape: candidates, selection and repair.
4. kernels/benchmarks/run.py: FOLDER/benchmark.csv.

A check that fails is told and the exit status is 1; later parts still run. Without a device, and with
TRITON_INTERPRET=1, only the checks run, on tiny inputs.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import triton

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "benchmarks")]

import sae_kernels as sk  # noqa: E402 - found by the line above, wherever this is started from
import shapes  # noqa: E402
import timing  # noqa: E402
from sae_kernels.device import encode as device  # noqa: E402
from sae_kernels.dispatch import configurations  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TINY = DEVICE == "cpu"


def say(text: str) -> None:
    """To the terminal, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def columns(kind: str, latents: int) -> torch.Tensor:
    """Biases that put the largest codes where a tile-wise selection loses them."""
    bias = torch.zeros(latents, device=DEVICE)
    if kind == "sorted":
        bias = torch.linspace(8, 0, latents, device=DEVICE)
    elif kind == "dense":
        bias[latents // 3] = 20
    elif kind == "clustered":
        bias[latents // 2 : latents // 2 + 48] = 6
    elif kind == "negative":
        bias -= 100
    return bias


def encodes() -> Iterator[tuple[str, Callable[[], bool]]]:
    """Fused and chunked encodes of every kind of columns."""
    tokens, width, latents, k = (6, 32, 128, 5) if TINY else (1000, 768, 12345, 32)
    for kind, dtype in itertools.product(
        ("random", "sorted", "dense", "clustered", "negative"), (torch.bfloat16, torch.float16, torch.float32)
    ):
        x = torch.randn(tokens, width, device=DEVICE).to(dtype)
        weight = (torch.randn(latents, width, device=DEVICE) / width**0.5).to(dtype).T
        bias = columns(kind, latents)
        for path in ("fused", "chunked"):
            yield f"encode {path} {kind} {dtype}", lambda x=x, w=weight, b=bias, p=path: right(x, w, b, k, p)


def right(x: Any, weight: Any, bias: Any, k: int, path: str) -> bool:
    """Whether what is chosen is right up to rounding, and the same when repeated."""
    found = sk.encode_topk(x, weight, bias, k, path=path)
    again = sk.encode_topk(x, weight, bias, k, path=path)
    score = (x.double() @ weight.double() + bias).relu()
    least = score.topk(k, dim=1).values[:, -1:]
    eps = 2e-4 * score.amax(1, keepdim=True).clamp(min=1e-9)
    there = found.indices >= 0
    chosen = torch.zeros_like(score).scatter_add_(1, found.indices.clamp(min=0), there.double())
    wanted = score.gather(1, found.indices.clamp(min=0))
    return bool(
        (chosen <= 1).all()
        and (chosen[score > least + eps] == 1).all()
        and (score[chosen == 1] >= (least - eps).expand_as(score)[chosen == 1]).all()
        and ((found.values - wanted).abs() <= eps)[there].all()
        and torch.equal(found.indices, again.indices)
        and torch.equal(found.values, again.values)
    )


def others() -> Iterator[tuple[str, Callable[[], bool]]]:
    """BatchTopK, pairs, decode and gradients."""
    tokens, width, latents, k = (6, 32, 128, 5) if TINY else (1000, 768, 12288, 32)
    x = torch.randn(tokens, 2 * width, device=DEVICE)
    encoder = torch.randn(latents, 2 * width, device=DEVICE) / width**0.5
    bias, decoder = torch.zeros(latents, device=DEVICE), torch.randn(latents, 2 * width, device=DEVICE)
    scale = torch.rand(latents, device=DEVICE) + 0.5
    codes = sk.encode_topk(x, encoder.T, bias, k, path="plain")
    batch = sk.encode_batchtopk(x, encoder.T, bias, k * tokens, path="plain")
    pull = torch.randn(tokens, 2 * width, device=DEVICE)

    def pair() -> bool:
        halves = (x[:, :width], x[:, width:]), (encoder[:, :width].T, encoder[:, width:].T)
        found = sk.encode_topk(*halves, bias, k, scale=scale, path="fused")
        return close(found.dense(latents), sk.encode_topk_plain(*halves, bias, k, scale=scale).dense(latents))

    def batchtopk() -> bool:
        found = sk.encode_batchtopk(x, encoder.T, bias, k * tokens, path="fused")
        return int(found.overflow) == 0 and close(found.dense(latents), batch.dense(latents))

    yield "encode, a pair with a scale", pair
    yield "encode_batchtopk", batchtopk
    for name, given in (("padded", codes), ("ragged", batch)):
        yield (
            f"decode {name}",
            lambda g=given: close(sk.decode(g, decoder, path="fused"), sk.decode_plain(g, decoder)),
        )
        yield (
            f"backward {name}",
            lambda g=given: all(
                map(
                    close,
                    sk.backward(g, pull, x, decoder, path="fused"),
                    sk.backward_plain(g, pull, x, decoder),
                )
            ),
        )


def close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether the relative error is that of single precision, TF32 products at most."""
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-9)) < 2e-3


def check() -> int:
    """Runs the checks; how many failed."""
    failed = 0
    for name, run in itertools.chain(encodes(), others()):
        try:
            verdict = "ok" if run() else "WRONG"
        except Exception as error:
            verdict = f"FAILED {type(error).__name__}: {str(error)[:200]}"
        failed += verdict != "ok"
        say(f"{name:<50} {verdict}")
    return failed


def sweep(out: Path, until: float) -> None:
    """Times constants of the fused encode."""
    with (out / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["shape", "fused", "ms_p50", "gemm_ms", "pct_of_gemm", "repairs"])
        for shape in shapes.DEVICE:
            given = shapes.inputs(shape, DEVICE, torch.bfloat16)
            product = timing.timed(lambda g=given: g.x @ g.encoder.T, DEVICE, 0.2).p50
            problem = device.Problem(given.x, None, given.encoder.T, None, given.bias, None, None)
            for fused in variants():
                if time.monotonic() > until:
                    return
                row = timed_variant(problem, shape.k, fused, product)
                table.writerow([shape.name, fused, *row])
                file.flush()
                tile = f"{fused.rows}x{fused.columns}x{fused.depth} keep {fused.keep} warps {fused.warps}"
                how = f"stages {fused.stages} persistent {fused.persistent} group {fused.group}"
                say(f"{shape.name:<32} {tile} {how} packed {fused.packed}: {row}")


def timed_variant(problem: Any, k: int, fused: device.Fused, product: float) -> list[str]:
    """Milliseconds, the product's, percent of it, and repairs of one setting; what went wrong otherwise."""
    try:
        found = device.encode_fused(problem, k, fused)
        taken = timing.timed(lambda: device.encode_fused(problem, k, fused), DEVICE, 0.2).p50
    except Exception as error:
        return [type(error).__name__, f"{product:.4f}", "", ""]
    return [f"{taken:.4f}", f"{product:.4f}", f"{100 * product / taken:.1f}", str(int(found.repairs))]


def variants() -> Iterator[device.Fused]:
    """Settings to time, likely ones first."""
    base = device.Fused()
    for columns_, warps in ((128, 4), (256, 8)):
        for stages, persistent in ((3, 0), (4, 0), (3, 1), (3, 2)):
            yield replace(base, columns=columns_, warps=warps, stages=stages, persistent=persistent)
        yield replace(base, columns=columns_, warps=warps, keep=2)
        yield replace(base, columns=columns_, warps=warps, group=16)
        yield replace(base, columns=columns_, warps=warps, packed=False)


def parts() -> None:
    """Times candidates alone at the first shape, and what is left for selection and repair."""
    shape = shapes.DEVICE[0]
    given = shapes.inputs(shape, DEVICE, torch.bfloat16)
    fused = next(configurations("sm90", torch.bfloat16, shape.tokens, shape.latents))
    problem = device.Problem(given.x, None, given.encoder.T, None, given.bias, None, None)
    launch = device.launch_of(problem, fused)
    found = device.candidates(launch, fused, given.x)
    product = timing.timed(lambda: given.x @ given.encoder.T, DEVICE).p50
    first = timing.timed(lambda: device.candidates(launch, fused, given.x), DEVICE).p50
    rest = timing.timed(lambda: device.select(launch, found, fused, shape.k, None, None), DEVICE).p50
    say(f"{shape.name}: product {product:.3f} ms, candidates {first:.3f} ms, the rest {rest:.3f} ms")


def benchmark(out: Path, seconds: float) -> None:
    """The table of the README, as far as the time goes."""
    command = [sys.executable, str(HERE / "benchmarks" / "run.py"), "--out", str(out), "--seconds", "0.3"]
    try:
        subprocess.run(command, timeout=max(1.0, seconds), check=False)  # noqa: S603 - our own script
    except subprocess.TimeoutExpired:
        say("the benchmark ran out of time; what it had is in the file")


def main() -> int:
    """Everything, in order of worth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9)
    chosen = parser.parse_args()
    begin, seconds = time.monotonic(), 60 * chosen.minutes
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    name = "cpu" if TINY else torch.cuda.get_device_name()
    say(f"{name}, torch {torch.__version__}, triton {triton.__version__}")
    failed = check()
    if not TINY:
        parts()
        benchmark(chosen.out / "benchmark.csv", 0.75 * seconds - (time.monotonic() - begin))
        sweep(chosen.out, begin + seconds)
    say(f"{failed} checks failed, {time.monotonic() - begin:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
