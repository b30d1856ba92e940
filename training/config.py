"""Settings of a run; command lines are made from these classes. GRPO's defaults made the shipped adapter."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from training.errors import TrainingError


@dataclass(frozen=True)
class GRPOConfig:
    """How the policy is sampled, rewarded and updated.

    Raises:
        TrainingError: a value makes no sense; the message names the field.
    """

    steps: int = 24
    """Batches of fresh rollouts; each is used for `inner_epochs` optimiser steps."""
    inner_epochs: int = 1
    """Optimiser steps per batch of rollouts. At 1 every ratio is 1 and the clip never acts."""
    prompts_per_step: int = 12
    """Groups with reward variance that a batch of rollouts needs."""
    max_draws: int = 3
    """How many times `prompts_per_step` prompts may be drawn to find that many live groups."""
    give_up_after: int = 10
    """Batches without a single live group before the run stops with an error."""
    group_size: int = 64
    """Rollouts per prompt, whose rewards are compared with each other."""
    new_tokens: int = 1
    """Tokens sampled per rollout. One is enough for prompts that end where the judged word is due; more cost
    time and add noise."""
    temperature: float = 1.0
    """Of the sampler; log-probabilities are taken at the same temperature."""
    clip: float = 0.2
    """Ratios beyond 1 +- clip, in the direction in which the advantage pushes, give no gradient."""
    learning_rate: float = 3e-3
    """Of AdamW at the first step."""
    final_learning_rate: float = 0.1
    """Share of the learning rate that is left at the last step; it falls linearly."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    kl_weight: float = 3.0
    """Weight of KL(reference || policy) per token of reference text. Advantages have unit variance, so a
    weight far below 1 hardly holds the policy."""
    kl_sequences: int = 32
    """Texts sampled once from the reference model, before the first step."""
    kl_tokens: int = 24
    """Tokens per such text."""
    kl_batch: int = 4
    """Texts among them on which each step computes the KL."""
    groups_per_pass: int = 6
    """Groups that go through the model at once; lower it when memory runs out."""
    lora_rank: int = 4
    """Rank of each low-rank update."""
    lora_alpha: int = 8
    """The update is scaled by lora_alpha / lora_rank."""
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj")
    """Names of the linear modules that get a low-rank update."""
    seed: int = 0
    """Of everything random: prompts, rollouts, reference text and the adapter's start."""
    save_every: int = 5
    """Batches of rollouts between two checkpoints."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class LoopConfig(GRPOConfig):
    """What the loop can do for every method, beyond what GRPO on a small adapter needs.

    Raises:
        TrainingError: a value makes no sense; the message names the field.
    """

    staleness: int = 0
    """Batches of rollouts by which the sampler lags behind the policy. At 0, with one inner epoch, every
    ratio is 1 and no trust region acts."""
    aggregation: Literal["card", "sequence_mean", "token_mean", "constant"] = "card"
    """How tokens are averaged; card: as the method's paper does."""
    tune: Literal["lora", "full"] = "lora"
    """What trains: a low-rank adapter, or every weight."""
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision of the forward passes; weights and optimiser keep the model's dtype."""
    value_weight: float = 0.5
    """Weight of the value head's squared error, for methods that have one."""
    value_learning_rate: float = 0.05
    """Of the value head, for methods that have one: about by how much a step can move what it expects."""
    canary: float = 0.05
    """Largest mean gap, in nats, between what the sampler and the trainer say of the same tokens before the
    first update; more means that another policy samples than trains, and stops the run."""

    @classmethod
    def of(cls, config: GRPOConfig) -> LoopConfig:
        """The same settings with the loop's own at their defaults, where they are not there yet."""
        if isinstance(config, LoopConfig):
            return config
        return cls(**{f.name: getattr(config, f.name) for f in fields(GRPOConfig)})

    @property
    def lag(self) -> int:
        """Most updates between the policy that sampled a rollout and the one that an update starts from."""
        return self.staleness * self.inner_epochs + self.inner_epochs - 1


@dataclass(frozen=True)
class PreferenceConfig:
    """Settings of the short loops that learn from preference pairs: DPO, reward model, supervised training.

    Raises:
        TrainingError: a value makes no sense; the message names the field.
    """

    steps: int = 60
    """Optimiser steps."""
    batch_size: int = 8
    """Pairs per step; lower it if memory runs out."""
    beta: float = 0.1
    """DPO only: weight of the divergence from the start; a smaller one lets the policy move further."""
    learning_rate: float = 1e-3
    """Of AdamW at the first step."""
    final_learning_rate: float = 0.1
    """Share of the learning rate that is left at the last step; it falls linearly."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    tune: Literal["lora", "full"] = "lora"
    """What trains: a low-rank adapter, or every weight."""
    lora_rank: int = 4
    """Rank of each low-rank update."""
    lora_alpha: int = 8
    """The update is scaled by lora_alpha / lora_rank."""
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj")
    """Names of the linear modules that get a low-rank update."""
    seed: int = 0
    """Of the order of the pairs and of what starts at random."""

    def __post_init__(self) -> None:
        _check(self)


def _check(config: object) -> None:
    """Refuses settings that make no sense, whichever of these classes they belong to."""
    for name, wanted in (
        *(
            (name, _least(getattr(config, name), least))
            for name, least in _LEAST.items()
            if hasattr(config, name)
        ),
        *((name, _positive(getattr(config, name))) for name in _POSITIVE if hasattr(config, name)),
        *(
            (name, _one_of(getattr(config, name), allowed))
            for name, allowed in _CHOICES.items()
            if hasattr(config, name)
        ),
    ):
        if wanted is not None:
            raise TrainingError(
                f"{name} must be {wanted}, not {getattr(config, name)}", where=name, fix="change the setting"
            )
    if not getattr(config, "lora_targets", True):
        raise TrainingError("no module is named to be trained", where="lora_targets", fix="name at least one")


def _least(value: float, least: float) -> str | None:
    return None if least <= value < float("inf") else f"at least {least} and finite"


def _positive(value: float) -> str | None:
    return None if 0 < value < float("inf") else "a positive number"


def _one_of(value: str, allowed: tuple[str, ...]) -> str | None:
    return None if value in allowed else f"one of {', '.join(allowed)}"


_CHOICES: dict[str, tuple[str, ...]] = {
    "aggregation": ("card", "sequence_mean", "token_mean", "constant"),
    "tune": ("lora", "full"),
    "precision": ("no", "bf16"),
}
_LEAST: dict[str, float] = {
    "steps": 1, "inner_epochs": 1, "prompts_per_step": 1, "max_draws": 1, "give_up_after": 1, "group_size": 2,
    "new_tokens": 1, "learning_rate": 0, "final_learning_rate": 0, "kl_weight": 0, "kl_sequences": 1,
    "kl_tokens": 1, "kl_batch": 1, "groups_per_pass": 1, "lora_rank": 1, "seed": 0, "save_every": 1,
    "staleness": 0, "value_weight": 0, "value_learning_rate": 0, "batch_size": 1,
}  # fmt: skip
_POSITIVE = ("temperature", "clip", "gradient_clip", "lora_alpha", "canary", "beta")
