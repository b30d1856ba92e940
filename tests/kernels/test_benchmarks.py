"""The benchmark writes the table that it promises."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = [
    "op", "impl", "shape", "dtype", "device", "torch", "triton", "ms_p20", "ms_p50", "ms_p80", "gemm_ms",
    "pct_of_gemm", "repairs", "peak_mb",
]  # fmt: skip
SMALL = """
import runpy, sys
sys.path.insert(0, "kernels/benchmarks")
import shapes
shapes.CPU = (shapes.Shape(16, 16, 256, 4), shapes.Shape(16, 8, 256, 4, streams=2))
import encode
encode._saelens = lambda *given: iter(())
encode.torch.compile = lambda function: function
sys.argv = ["run.py", "--seconds", "0", "--out", sys.argv[1]]
runpy.run_path("kernels/benchmarks/run.py", run_name="__main__")
"""


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="times nothing under the interpreter")
def test_the_table_has_every_operation_and_column(tmp_path: Path) -> None:
    out = tmp_path / "cpu.csv"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", SMALL, str(out)], cwd=ROOT, env=environment, check=True)
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[: len(COLUMNS)] == COLUMNS
    assert {row["op"] for row in rows} == {"encode", "batchtopk", "decode", "backward", "auxk", "jumprelu"}
    assert {row["shape"] for row in rows} == {"16x16x256 k4", "16x2x8x256 k4"}
    ours = [row for row in rows if row["impl"] == "sae_kernels"]
    assert len(ours) == 12
    assert all(float(row["ms_p20"]) <= float(row["ms_p50"]) <= float(row["ms_p80"]) for row in ours)
    assert not [row for row in rows if row["ms_p50"] == "failed"]
