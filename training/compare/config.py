"""Settings of a comparison; importing them costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.errors import TrainingError

LEAST: dict[str, int] = {"staleness": 0, "seeds": 1, "batches": 2, "groups": 2, "group_size": 2, "workers": 1}


@dataclass(frozen=True)
class ComparisonConfig:
    """What every method is given alike.

    Raises:
        TrainingError: a value makes no sense; the message names the field.
    """

    methods: str = (
        "reinforce,ppo,grpo,dapo,cispo,gspo,spo,dppo_tv,dppo_kl,"
        "drpo,drpo:delta=12.5,cppo,cppo_article,delightful"
    )
    """Methods, with commas between; one may have settings of its own, as in drpo:delta=12.5."""
    task: str = "bandit,chain,copy"
    """Tasks, with commas between: bandit (long tail), chain (early deviations cost more), copy
    (transformer)."""
    staleness: int = 8
    """Most updates between the policy that sampled a rollout and the one that learns from it. At 0 every
    ratio is 1 and the comparison is refused."""
    stale: Literal["epochs", "actor"] = "epochs"
    """How rollouts grow old: several updates on each batch, or an actor that lags behind."""
    seeds: int = 5
    """Runs of every method; a seed gives each method the same start and the same random numbers."""
    batches: int = 40
    """Rounds of staleness + 1 updates; divergence is measured at the end of each."""
    groups: int = 4
    """Groups of rollouts per batch, even, so that halves give the variance of the gradient."""
    group_size: int = 16
    """Rollouts per group."""
    learning_rate: tuple[float, ...] = ()
    """Rate of Adam, constant; may be repeated. Default: two rates of each task, since a method may like
    another rate than its rival does."""
    advantage: str = "group"
    """Advantage of every method; card: each method's own, where it needs no value head."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient, for every method."""
    workers: int = 1
    """Processes that share the runs."""

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise _wrong(name, getattr(self, name), f"at least {least}")
        if self.stale not in ("epochs", "actor"):
            raise _wrong("stale", self.stale, "epochs or actor")
        if self.groups % 2:
            raise _wrong("groups", self.groups, "even")
        for name, values in (("learning_rate", self.learning_rate), ("gradient_clip", (self.gradient_clip,))):
            if not all(0 < value < float("inf") for value in values):
                raise _wrong(name, values, "positive and finite")

    @property
    def updates(self) -> int:
        """Optimiser steps of a run."""
        return self.batches * (self.staleness + 1)


def _wrong(name: str, value: object, wanted: str) -> TrainingError:
    return TrainingError(f"{name} must be {wanted}, not {value}", where=name, fix="change the setting")
