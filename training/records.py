"""What a step leaves behind: rows of the run folder's tables `train_steps` and `tokens`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from training.types import LossTerms, Rollout

TokenColumns = dict[str, NDArray[Any]]
"""Columns of the `tokens` table by name."""


@dataclass(frozen=True)
class ChannelReward:
    """One reward channel over all rollouts of a step, those of dead groups included."""

    channel: str
    reward: float
    """Mean."""
    std: float
    """Mean of the groups' standard deviations."""


@dataclass(frozen=True, eq=False)
class StepRecord:
    """One optimiser step."""

    step: int
    channels: tuple[ChannelReward, ...]
    """The reward's channels, and 'total', which the advantage saw."""
    dead_groups: float
    """Share of the sampled groups in which every rollout got the same reward."""
    sampled_groups: int
    """Groups that were sampled, the dead ones included."""
    live_groups: int
    """Groups that trained."""
    exact_kl: float | None
    """KL(reference || policy), nats per token, on the reference texts of the step, before it; None: the
    method measures none."""
    loss: float
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    diagnostics: dict[str, float]
    """The objective's own numbers, token-weighted over the step."""
    tokens: TokenColumns = field(repr=False)
    """Columns of the `tokens` table: every token that trained, each up to where its reward was decided."""
    seconds: float = 0.0
    """Wall-clock time, kept apart from the evidence because it never repeats."""

    def step_rows(self) -> list[dict[str, str | int | float | None]]:
        """Rows of the `train_steps` table, one per channel."""
        return [
            {
                "step": self.step,
                "channel": c.channel,
                "reward": c.reward,
                "reward_std": c.std,
                "dead_groups": self.dead_groups,
                "exact_kl": self.exact_kl,
                "loss": self.loss,
                "gradient_norm": self.gradient_norm,
                "learning_rate": self.learning_rate,
            }
            for c in self.channels
        ]


def token_columns(
    step: int, rollout: Rollout, terms: LossTerms, trainer_logp: Tensor, advantage: Tensor, first_group: int
) -> TokenColumns:
    """Columns of the `tokens` table for the tokens of a rollout whose groups count from `first_group`."""
    row, place = rollout.mask.nonzero(as_tuple=True)

    def column(values: Tensor) -> NDArray[Any]:
        return values.detach()[row, place].cpu().numpy()

    group = first_group + row // rollout.group_size
    return {
        "step": np.full(len(row), step, dtype=np.int64),
        "rollout": (row + first_group * rollout.group_size).cpu().numpy(),
        "group": group.cpu().numpy(),
        "position": place.cpu().numpy(),
        "token": column(rollout.tokens),
        "sampler_logp": column(rollout.sampler_logp),
        "trainer_logp": column(trainer_logp),
        "ratio": column(torch.exp(trainer_logp - rollout.sampler_logp)),
        "weight": column(terms.weight),
        "keep": column(terms.keep),
        "advantage": (advantage[row] if advantage.dim() == 1 else advantage[row, place]).cpu().numpy(),
    }


def join_columns(parts: list[TokenColumns]) -> TokenColumns:
    """The columns of several rollouts of one step as one table; empty where nothing trained."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def side_by_side(parts: list[tuple[TokenColumns, int, int]]) -> TokenColumns:
    """The columns of several processes as one table, their groups and rollouts numbered on.

    Args:
        parts: of each process its columns, how many groups they are of, and how many rollouts.
    """
    group, rollout, shifted = 0, 0, list[TokenColumns]()
    for columns, groups, rollouts in parts:
        if columns:
            moved = {"group": columns["group"] + group, "rollout": columns["rollout"] + rollout}
            shifted.append({**columns, **moved})
        group, rollout = group + groups, rollout + rollouts
    return join_columns(shifted)


def write_record(path: Path, record: StepRecord) -> None:
    """Keeps a record as safetensors: token columns as arrays, the rest as JSON in the header."""
    scalars = asdict(record)
    del scalars["tokens"]
    save_file(dict(record.tokens), path, metadata={"record": json.dumps(scalars)})


def read_record(path: Path) -> StepRecord:
    """A record that `write_record` kept.

    Raises:
        OSError, ValueError, KeyError: the file is missing or is not one.
    """
    with safe_open(path, framework="numpy") as file:
        scalars = json.loads(file.metadata()["record"])
        tokens = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    scalars["channels"] = tuple(ChannelReward(**channel) for channel in scalars["channels"])
    return StepRecord(**scalars, tokens=tokens)
