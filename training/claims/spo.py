"""Claims on SPO."""

from __future__ import annotations

from statistics import fmean

from training.claims.bench import Bench, efficiency, superior
from training.claims.types import Claim, Finding
from training.compare.controlled import Trace


def bounds_the_ratio(bench: Bench) -> Finding:
    """Mean |r - 1| / 2 of the rollouts trained on, after a batch's last update, against the clip."""
    what = "mean |r - 1| / 2 over the rollouts of a batch"
    return superior(bench, "spo", "ppo", _distance, what, less=True)


def earns_more(bench: Bench) -> Finding:
    """What a run earns."""
    return superior(bench, "spo", "ppo", efficiency, "mean reward of a run")


def _distance(run: Trace) -> float:
    return fmean(value for value in run.believed if value is not None)


CLAIMS = (
    Claim(
        "spo",
        "paper",
        "bounds the ratio, where PPO's clip only stops pushing it",
        "mean distance of the ratio from 1 after a batch's updates, against PPO",
        bounds_the_ratio,
    ),
    Claim("spo", "paper", "beats PPO", "exact reward over a run, against PPO", earns_more),
)
