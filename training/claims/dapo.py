"""Claims on DAPO."""

from __future__ import annotations

from statistics import fmean

from training.claims.bench import Bench, efficiency, superior
from training.claims.types import Claim, Finding


def entropy(bench: Bench) -> Finding:
    """Entropy of whole completions over a run, against the symmetric clip."""
    what = "mean entropy of a run, nats"
    return superior(bench, "dapo", "grpo", lambda run: fmean(run.entropy), what, equal_rates=True)


def rewards(bench: Bench) -> Finding:
    """What a run earns."""
    return superior(bench, "dapo", "grpo", efficiency, "mean reward of a run")


CLAIMS = (
    Claim(
        "dapo",
        "paper",
        "the higher upper clip lets unlikely tokens rise, so that entropy does not collapse",
        "exact entropy of whole completions over a run, against GRPO",
        entropy,
    ),
    Claim(
        "dapo",
        "paper",
        "trains better than GRPO",
        "exact reward over a run, against GRPO (no overlong answers and no dead prompts here)",
        rewards,
    ),
)
