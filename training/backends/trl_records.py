"""What a run inside TRL leaves: notes of the step in progress, and the records made from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainerCallback

from training.collect import channel_means
from training.config import LoopConfig
from training.records import StepRecord, TokenColumns, join_columns, side_by_side
from training.reference import Reference
from training.rewards import GroupReward, PromptReward, Reward
from training.types import Objective, Prompt


@dataclass
class Notes:
    """What is known of the step in progress."""

    rewards: list[GroupReward] = field(default_factory=list)
    tokens: list[TokenColumns] = field(default_factory=list)
    diagnostics: list[dict[str, float]] = field(default_factory=list)
    groups: dict[tuple[int, ...], int] = field(default_factory=dict)
    """Number of each prompt's group: TRL shuffles rollouts, so their order does not tell."""
    kl: float = 0.0

    def clear(self) -> None:
        """Forgets the step that is over."""
        for part in (self.rewards, self.tokens, self.diagnostics, self.groups):
            part.clear()


@dataclass(frozen=True)
class Task:
    """What the trainer is given beyond TRL's own arguments."""

    objective: Objective
    config: LoopConfig
    prompts: dict[str, Prompt]
    """By their text."""
    reward: Reward | PromptReward
    reference: Reference
    choices: torch.Generator
    notes: Notes = field(default_factory=Notes)
    records: list[StepRecord] = field(default_factory=list)


class Recorder(TrainerCallback):
    """Makes a record of each optimiser step from what TRL logs of it."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Called once per optimiser step, and once at the end without a loss."""
        logs: dict[str, Any] = given["logs"]
        if "loss" not in logs:
            return
        task, notes = self.task, _of_team(self.task.notes, args.world_size)
        dead = float(logs.get("frac_reward_zero_std", 0.0))
        groups = task.config.prompts_per_step
        task.records.append(
            StepRecord(
                step=state.global_step - 1,
                channels=channel_means(notes.rewards) if notes.rewards else task.records[-1].channels,
                dead_groups=dead,
                sampled_groups=groups,
                live_groups=round((1 - dead) * groups),
                exact_kl=notes.kl,
                loss=float(logs["loss"]),
                gradient_norm=float(logs.get("grad_norm", 0.0)),
                learning_rate=float(logs.get("learning_rate", 0.0)),
                diagnostics=_mean(notes.diagnostics),
                tokens=join_columns(notes.tokens),
                seconds=float(logs.get("step_time", 0.0)),
            )
        )
        task.notes.clear()


def _of_team(own: Notes, processes: int) -> Notes:
    """What all processes noted of a step."""
    if processes == 1:
        return own
    from accelerate.utils import gather_object  # type: ignore[import-untyped]  # it ships no types

    everyone: list[Notes] = gather_object([own])
    parts = [(join_columns(one.tokens), len(one.groups), rollouts_of(one.tokens)) for one in everyone]
    return Notes(
        rewards=[reward for one in everyone for reward in one.rewards],
        tokens=[side_by_side(parts)],
        diagnostics=[named for one in everyone for named in one.diagnostics],
        kl=own.kl,
    )


def rollouts_of(parts: list[TokenColumns]) -> int:
    """How many rollouts the columns are of."""
    return sum(len(set(part["rollout"].tolist())) for part in parts)


def _mean(several: list[dict[str, float]]) -> dict[str, float]:
    names = several[0] if several else {}
    return {name: sum(one[name] for one in several) / len(several) for name in names}
