"""Every claim, tested; and the page and data that are made of it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import training.claims
from training.claims.bench import Bench
from training.claims.types import Claim, Finding


@dataclass(frozen=True)
class Tested:
    """A claim and what became of it."""

    claim: Claim
    finding: Finding


def all_claims() -> list[Claim]:
    """The claims of every file of this package, method by method."""
    modules = pkgutil.iter_modules(training.claims.__path__)
    found: list[Claim] = []
    for module in modules:
        if module.name != "__main__":
            loaded = importlib.import_module(f"{training.claims.__name__}.{module.name}")
            found += getattr(loaded, "CLAIMS", ())
    return found


def check(
    bench: Bench, claims: Sequence[Claim], progress: Callable[[int], object] = lambda done: None
) -> list[Tested]:
    """Runs every claim's measurement on a bench."""
    tested = []
    for claim in claims:
        tested.append(Tested(claim, claim.test(bench)))
        progress(1)
    return tested


def as_json(tested: Sequence[Tested]) -> list[dict[str, Any]]:
    """Claims, verdicts and every number behind them."""
    return [
        {
            "method": t.claim.method,
            "source": t.claim.source,
            "claim": t.claim.text,
            "how": t.claim.how,
            "verdict": t.finding.verdict,
            "measured": t.finding.said,
            "numbers": {name: float(f"{value:.6g}") for name, value in t.finding.numbers.items()},
        }
        for t in tested
    ]


def page(rows: Sequence[dict[str, Any]], command: str) -> str:
    """The claims as Markdown, made from `as_json`'s rows."""
    lines = [
        "# What is said of the methods, and what we measured",
        "",
        f"    {command}",
        "",
        "The tasks are small: a long-tailed bandit, a chain of tokens, copying with a transformer of some",
        "thousand weights. A claim of superiority is supported where the paired difference's 95 % t interval",
        "over seeds lies on the claimed side on one task at least and on the other side on none, each method",
        "at its own best learning rate (where the rate is named: both at that rate). Not supported means",
        "that this was not seen here: with few seeds intervals are wide, and it may be true elsewhere.",
        "",
        "| method | who | claim | verdict | measured |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        cells = (r["method"], r["source"], r["claim"], f"**{r['verdict']}**", r["measured"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])
