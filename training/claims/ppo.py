"""Claims on PPO's ratio clip."""

from __future__ import annotations

from training.claims.bench import Bench, superior
from training.claims.tokens import kept
from training.claims.types import Claim, Finding, decide


def wrong_geometry(bench: Bench) -> Finding:
    """A rare token that hardly moved the policy, and a common one that moved it much."""
    rare = kept("ppo", 1e-5, 1e-3, 1.0)
    common = kept("ppo", 0.99, 0.80, -1.0)
    said = (
        f"1e-5 to 1e-3 (a shift of .001) {'trains' if rare else 'is cut'}, "
        f".99 to .80 (a shift of .19) {'trains on' if common else 'is cut'}"
    )
    return Finding(
        decide(common and not rare), said, {"rare_kept": float(rare), "common_kept": float(common)}
    )


def holds_the_policy(bench: Bench) -> Finding:
    """Exact total variation over the first batch's updates: same policy, rollouts and rate, no clip."""
    what = "exact total variation over the first batch"
    return superior(bench, "ppo", "reinforce", lambda run: run.tv[0], what, less=True, equal_rates=True)


CLAIMS = (
    Claim(
        "ppo",
        "article",
        "ratio clipping is the wrong trust region: it stops rare tokens and lets common ones run",
        "whether a rare token that moved by .001 and a common one that moved by .19 still train",
        wrong_geometry,
    ),
    Claim(
        "ppo",
        "paper",
        "the clip keeps several epochs on the same rollouts from moving the policy too far",
        "exact total variation of whole completions across the first batch's updates, against no clip",
        holds_the_policy,
    ),
)
