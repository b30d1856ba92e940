"""Claims on plain policy gradient."""

from __future__ import annotations

from training.claims.bench import Bench, efficiency, superior
from training.claims.types import Claim, Finding


def needs_no_clip(bench: Bench) -> Finding:
    """What a run earns on stale rollouts."""
    return superior(bench, "reinforce", "ppo", efficiency, "mean reward of a run")


CLAIMS = (
    Claim(
        "reinforce",
        "paper",
        "no clip is needed: plain policy gradient with a group's baseline beats PPO",
        "exact reward over a run with stale rollouts (the paper's are fresh), against PPO",
        needs_no_clip,
    ),
)
