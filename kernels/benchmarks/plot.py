"""Bars of a benchmark's CSV: percent of the matrix product's speed, an operation and shape a panel.

Run: python kernels/benchmarks/plot.py results/DEVICE.csv figure.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd


def main(source: Path, target: Path) -> None:
    """Draws and saves."""
    table = pd.read_csv(source)
    table = table[(table.op == "encode") & (table.ms_p50 != "failed")]
    panels = list(table.groupby("shape", sort=False))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4 * len(panels), 3), squeeze=False, layout="constrained"
    )
    for axis, (shape, rows) in zip(axes[0], panels, strict=True):
        colours = ["tab:blue" if name == "sae_kernels" else "lightgrey" for name in rows.impl]
        axis.barh(rows.impl[::-1], rows.pct_of_gemm[::-1], color=colours[::-1])
        axis.axvline(100, color="black", linewidth=0.5)
        axis.set(title=shape, xlabel="% of the matrix product's speed")
    figure.suptitle(f"encode, {table.device.iloc[0]}, {table.dtype.iloc[0]}")
    figure.savefig(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
