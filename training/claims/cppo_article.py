"""Claims on CPPO in the article's form."""

from __future__ import annotations

from training.claims.bench import Bench, elsewhere, superior
from training.claims.types import Claim, Finding
from training.compare.controlled import Trace
from training.compare.methods import TASKS
from training.compare.summary import fate


def fewer_collapses(bench: Bench) -> Finding:
    """Share of seeds that collapsed."""
    found = superior(bench, "cppo_article", "grpo", _collapsed, "share of runs that collapsed", less=True)
    collapses = sum(value for name, value in found.numbers.items() if name.endswith(".second"))
    if collapses == 0:
        said = "no run of grpo collapsed on these tasks, so there is nothing to prevent"
        return Finding("not testable here", said, found.numbers)
    return found


def _collapsed(run: Trace) -> float:
    return float(fate(run, TASKS[run.task].threshold) is not None)


CLAIMS = (
    Claim(
        "cppo_article",
        "article",
        "92 % fewer collapses than GRPO",
        "share of runs that collapsed, against GRPO",
        fewer_collapses,
    ),
    Claim(
        "cppo_article",
        "article",
        "+3.1 points on GSM8K with Qwen3-14B; 87 % of the divergence in the first 7 tokens",
        "needs that model and rollouts of hundreds of tokens",
        lambda bench: elsewhere(bench, "gsm8k", "a model of 14B weights"),
    ),
)
