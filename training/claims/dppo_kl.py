"""Claims on DPPO with the binary KL."""

from __future__ import annotations

from training.claims.bench import Bench, efficiency, superior
from training.claims.types import Claim, Finding


def better(bench: Bench) -> Finding:
    """What a run earns."""
    return superior(bench, "dppo_kl", "grpo", efficiency, "mean reward of a run")


CLAIMS = (
    Claim(
        "dppo_kl",
        "paper",
        "more stable and better than GRPO's ratio clip",
        "exact reward over a run, which falls with every collapse, against GRPO",
        better,
    ),
)
