"""Claims on SPO."""

from __future__ import annotations

from training.claims.bench import Bench, efficiency, superior
from training.claims.types import Claim, Finding
from training.compare.controlled import Trace


def bounds_the_ratio(bench: Bench) -> Finding:
    """Mean |r - 1| / 2 after the first batch's updates: same policy, rollouts and rate as PPO's."""
    what = "mean |r - 1| / 2 after the first batch"
    return superior(bench, "spo", "ppo", _distance, what, less=True, equal_rates=True)


def earns_more(bench: Bench) -> Finding:
    """What a run earns."""
    return superior(bench, "spo", "ppo", efficiency, "mean reward of a run")


def _distance(run: Trace) -> float:
    return run.believed[0] or 0.0


CLAIMS = (
    Claim(
        "spo",
        "paper",
        "bounds the ratio, where PPO's clip only stops pushing it",
        "mean distance of the ratio from 1 after the first batch's updates, against PPO",
        bounds_the_ratio,
    ),
    Claim("spo", "paper", "beats PPO", "exact reward over a run, against PPO", earns_more),
)
