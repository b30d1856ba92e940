"""How long a report of 40 pages takes, from a run folder to bytes on disk, and how long reading it back does.

The run is the miniature of `audit compare` with its suites repeated, so that every kind of section grows.

Run: python benchmarks/report.py [--suites 7] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from audit.evidence.claims import LEDGERS
from audit.evidence.files import sha256_file, write_json
from audit.evidence.run import RunFolder
from reports.build import write_report
from reports.verify import verify_report

MINIATURE = Path(__file__).parents[1] / "tests" / "data" / "runs" / "compare"
LISTS = {
    "behaviour": ("suites", "name"), "verdict": ("behaviours", "name"), "elicit": ("suites", "suite"),
    "directions": ("concepts", "suite"), "switches": ("behaviours", "name"), "bypass": ("behaviours", "name"),
}  # fmt: skip
"""Stage: the list in its result, and the field that names a behaviour."""


def main() -> None:
    """Prints one line per measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suites", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, out = Path(folder) / "run", Path(folder) / "report.pdf"
        shutil.copytree(MINIATURE, run)
        _repeat(run, options.suites)
        for _ in range(options.repeats):
            _measure(run, out)


def _measure(run: Path, out: Path) -> None:
    clock, own = time.perf_counter(), time.process_time()
    write_report(run, out)
    wall, spent = time.perf_counter() - clock, time.process_time() - own
    clock = time.perf_counter()
    found = verify_report(out)
    read = time.perf_counter() - clock
    if not found.passed:
        raise SystemExit("\n".join(found.problems))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    made = f"{found.pages} pages, {found.numbers} numbers, {out.stat().st_size / 2**20:.1f} MiB"
    print(f"{made}: written in {wall:.2f} s ({spent:.2f} s of CPU), verified in {read:.2f} s; {peak:.0f} MiB")


def _repeat(run: Path, suites: int) -> None:
    """Repeats each behaviour of the miniature under other names, and makes the hashes fit."""
    for stage, (name, field) in LISTS.items():
        path = run / "stages" / stage / "result.json"
        found = json.loads(path.read_text(encoding="utf-8"))
        found[name] = [_renamed(found[name][i % 2], field, i) for i in range(suites)]
        write_json(path, found)
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    for stage, state in manifest["stages"].items():
        done = run / "stages" / stage / "DONE"
        listed = json.loads(done.read_text(encoding="utf-8"))
        listed["files"] = {file: sha256_file(done.parent / file) for file in listed["files"]}
        write_json(done, listed)
        state["done"] = sha256_file(done)
    write_json(run / "manifest.json", manifest)
    folder = RunFolder(run)
    folder.write_claims(LEDGERS["compare"](folder))


def _renamed(entry: dict[str, Any], field: str, place: int) -> dict[str, Any]:
    return entry if place < 2 else {**entry, field: f"{entry[field]}-{place}"}


if __name__ == "__main__":
    main()
