"""`python -m training.claims`: tests every claim and prints the page; `--write` puts it beside this file.

python -m training.claims [--runs FOLDER] [--small] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from training.compare.config import ComparisonConfig

HERE = Path(__file__).parent
DATA, PAGE = HERE / "claims.json", HERE / "claims.md"


def main(arguments: list[str] | None = None) -> None:
    """Tests the claims, on the runs of an earlier comparison where there is one."""
    parser = argparse.ArgumentParser(prog="python -m training.claims", description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/claims"), help="where runs are kept")
    parser.add_argument("--small", action="store_true", help="two seeds of a few batches: a smoke test")
    parser.add_argument("--write", action="store_true", help="write claims.json and claims.md")
    options = parser.parse_args(arguments)
    import torch

    from training.claims.bench import Bench
    from training.claims.ledger import all_claims, as_json, check, page

    torch.set_num_threads(1)
    config = ComparisonConfig(workers=min(2, os.cpu_count() or 1))
    if options.small:
        config = ComparisonConfig(seeds=2, batches=3, task="bandit,chain")
    rows = as_json(check(Bench(options.runs, config), all_claims()))
    text = page(rows, "python -m training.claims" + " --small" * options.small)
    if options.write:
        DATA.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
