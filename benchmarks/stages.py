"""Time and peak memory of every stage and rung of an audit, and what an adapter pair adds to one copy.

Run: python benchmarks/stages.py [--preset quick]. Audits the embedded pair in a fresh folder; each figure of
memory comes from a process of its own. Absolute seconds depend on the machine: compare within one run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

PEAK = """
import sys, torch
from audit.evidence.stage import peak_mb
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.load import load_single, open_pair

kind, options = sys.argv[1], LoadOptions()
base = resolve("embedded:base", options)
ids = torch.arange(64)[None]
with torch.inference_mode():
    if kind == "one":
        load_single(base).model(ids)
    else:
        with open_pair(base, resolve("embedded:tuned", options), options=options) as pair:
            for side in ("base", "tuned"):
                with pair.model(side) as model:
                    model(ids)
print(peak_mb())
"""


AUDIT = """
import json, sys, time
from contextlib import contextmanager
from pathlib import Path

import torch
import audit

torch.set_num_threads(2)


class Timed:
    def __init__(self):
        self.tasks = []

    @contextmanager
    def task(self, title, total=None):
        begun = time.monotonic()
        yield lambda done: None
        self.tasks.append((title, time.monotonic() - begun))

    def note(self, text):
        pass


progress, (preset, out) = Timed(), sys.argv[1:]
audit.compare("demo", behaviour=("gender-occupation",), preset=preset, out=out, progress=progress)
Path(out, "tasks.json").write_text(json.dumps(progress.tasks))
"""
"""Audits the embedded pair and keeps the seconds of every task that it reports."""


class Measured(NamedTuple):
    """One audit."""

    stages: dict[str, dict[str, float]]
    """Seconds and peak MiB so far, by stage."""
    tasks: list[tuple[str, float]]
    """Title and seconds of each reported task, in order: the rungs inside the stages."""


def audit_stages(preset: str) -> Measured:
    """Runs `audit compare demo` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        subprocess.run([sys.executable, "-c", AUDIT, preset, str(out)], check=True)
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        tasks = json.loads((out / "tasks.json").read_text(encoding="utf-8"))
    stages = {
        name: {"seconds": s["seconds"], "peak_mb": s["peak_mb"]} for name, s in manifest["stages"].items()
    }
    return Measured(stages, [(title, seconds) for title, seconds in tasks])


def peak_of(kind: str) -> float:
    """Peak MiB of a process that loads one model, or the adapter pair, and runs it once."""
    done = subprocess.run([sys.executable, "-c", PEAK, kind], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--preset", default="quick", choices=("quick", "standard", "deep"))
    preset = parser.parse_args().preset
    found = audit_stages(preset)
    table = Table("stage", "seconds", "peak MiB so far", title=f"audit compare demo --preset {preset}")
    for name, measured in found.stages.items():
        table.add_row(name, f"{measured['seconds']:.2f}", f"{measured['peak_mb']:.0f}")
    table.add_row("all", f"{sum(one['seconds'] for one in found.stages.values()):.0f}", "")
    rungs = Table("task", "seconds", title="inside the stages, tasks of a second and more")
    for title, seconds in found.tasks:
        if seconds >= 1:
            rungs.add_row(title, f"{seconds:.1f}")
    one, pair = peak_of("one"), peak_of("pair")
    memory = Table("loaded", "peak MiB", "ratio", title="memory of an adapter pair")
    memory.add_row("one copy of the weights", f"{one:.0f}", "1.00")
    memory.add_row("base and tuned, by adapter", f"{pair:.0f}", f"{pair / one:.2f}")
    console = Console()
    console.print(table)
    console.print(rungs)
    console.print(memory)


if __name__ == "__main__":
    main()
