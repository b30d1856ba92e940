"""Claims on GSPO."""

from __future__ import annotations

from statistics import fmean

from training.claims.bench import Bench, efficiency, superior
from training.claims.types import Claim, Finding, decide
from training.compare.controlled import Trace


def clips_more_and_learns_more(bench: Bench) -> Finding:
    """Share of tokens cut, and reward over a run."""
    cut = superior(bench, "gspo", "grpo", _cut, "share of tokens cut")
    earned = superior(bench, "gspo", "grpo", efficiency, "mean reward of a run")
    numbers = {f"cut.{k}": v for k, v in cut.numbers.items()} | dict(earned.numbers)
    holds = cut.verdict == earned.verdict == "supported"
    return Finding(decide(holds), f"{cut.said}. {earned.said}", numbers)


def _cut(run: Trace) -> float:
    return fmean(fmean(batch) for batch in run.cut)


CLAIMS = (
    Claim(
        "gspo",
        "paper",
        "clips far more tokens than GRPO and still trains more efficiently",
        "share of tokens without gradient and exact reward over a run, against GRPO",
        clips_more_and_learns_more,
    ),
)
