"""Claims on DRPO."""

from __future__ import annotations

import torch

from training.claims.bench import Bench, efficiency, elsewhere, superior
from training.claims.tokens import weight
from training.claims.types import Claim, Finding, decide
from training.claims.variance import relative_variances

RELEASED = 12.5
"""Threshold of the released recipe."""


def less_variance(bench: Bench) -> Finding:
    """Variance of the gradient on the same stale rollouts and policies: only the loss differs."""
    change = relative_variances(bench, "drpo", "grpo")
    said = (
        f"variance over squared mean gradient on the same {change.states} stale batches: {change.value:+.0%} "
        f"[{change.low:+.0%}, {change.high:+.0%}] against grpo"
    )
    numbers = {"change": change.value, "low": change.low, "high": change.high}
    return Finding(decide(change.high < 0), said, numbers)


def pushed_back(bench: Bench) -> Finding:
    """Whether any shift of a probability turns the gradient, at a small threshold."""
    return _boundary(0.15)


def pushed_back_as_released(bench: Bench) -> Finding:
    """The same at the released threshold."""
    return _boundary(RELEASED)


def _boundary(delta: float) -> Finding:
    grid = torch.linspace(0.001, 0.999, 60).tolist()
    effects = [
        abs(weight("drpo", mu, pi, sign, delta=delta) / (pi / mu) - 1)
        for mu in grid
        for pi in grid
        for sign in (1.0, -1.0)
    ]
    most = max(effects)
    said = f"over all shifts, delta {delta:g} moves a weight by up to {most:.3f} of its ratio; 1 turns it"
    return Finding(decide(most >= 1), said, {"delta": delta, "largest_effect": most})


def better_than_grpo(bench: Bench) -> Finding:
    """What a run earns."""
    return superior(bench, "drpo", "grpo", efficiency, "mean reward of a run")


def better_than_dppo(bench: Bench) -> Finding:
    """What a run earns."""
    return superior(bench, "drpo", "dppo_tv", efficiency, "mean reward of a run")


REWARD = "exact reward over a run, which falls with every collapse"
CLAIMS = (
    Claim(
        "drpo",
        "article",
        "32 % less variance of the gradient",
        "variance of the gradient against GRPO on the same stale rollouts and policies",
        less_variance,
    ),
    Claim(
        "drpo",
        "article",
        "41 % fewer steps, and never a collapse, at 8B, 70B and 400B",
        "needs these models",
        lambda bench: elsewhere(bench, "language models", "8B to 400B weights"),
    ),
    Claim(
        "drpo",
        "paper",
        "tokens beyond the boundary are pushed back (delta 0.15)",
        "largest effect of the penalty on a token's weight, over all pairs of probabilities",
        pushed_back,
    ),
    Claim(
        "drpo",
        "paper",
        "tokens beyond the boundary are pushed back (delta 12.5, as in the released recipe)",
        "largest effect of the penalty on a token's weight, over all pairs of probabilities",
        pushed_back_as_released,
    ),
    Claim("drpo", "paper", "more stable and efficient than GRPO", REWARD, better_than_grpo),
    Claim("drpo", "paper", "more stable and efficient than DPPO", REWARD, better_than_dppo),
)
