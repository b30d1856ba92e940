"""Everything a run needs to go on to the bit: weights, optimiser, random state, waiting rollouts, records."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.collect import Batch
from training.critic import ValueHead
from training.errors import TrainingError
from training.model import CausalLM, base_of
from training.records import StepRecord, read_record, write_record
from training.stored import pack, unpack
from training.team import ALONE, Team

STATE = "state.safetensors"


@dataclass(frozen=True)
class Position:
    """Where a run stands."""

    batch: int = 0
    """Batches of rollouts trained on."""
    sampled: int = 0
    """Batches of rollouts drawn; more than trained on where the sampler lags behind."""
    steps: int = 0
    """Optimiser steps done."""
    saw_variance: bool = False
    """Whether any group had reward variance so far."""


@dataclass(frozen=True)
class State:
    """The parts of a run that change in place."""

    model: CausalLM
    optimizer: torch.optim.Optimizer
    choices: torch.Generator
    """Randomness of prompts and reference texts, on the CPU."""
    sampling: torch.Generator
    """Randomness of this process's rollouts, on the model's device."""
    critic: ValueHead | None = None
    waiting: deque[Batch] = field(default_factory=deque)
    """Batches that were sampled and not yet trained on."""
    team: Team = ALONE


@dataclass(frozen=True)
class Resumed:
    """The rest of what a checkpoint holds."""

    position: Position
    texts: Tensor
    """The reference texts."""
    records: tuple[StepRecord, ...]
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    """What `restore` puts back; empty for a run that begins."""


def save(folder: Path, state: State, rest: Resumed, identity: Mapping[str, str]) -> None:
    """Writes the records, then the state, whose file appears whole and last; the first process writes.

    Args:
        folder: made if missing.
        state: the parts that change in place.
        rest: position, reference texts and the records since the last checkpoint.
        identity: what must be equal for a run to go on from here.

    Raises:
        TrainingError: the folder cannot be written; the checkpoint before is still whole.
    """
    everyone = state.team.gather(_own_tensors(state))
    if state.team.rank > 0:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for record in rest.records:
            _whole(_record_path(folder, record.step), partial(write_record, record=record))
        header = {"position": json.dumps(asdict(rest.position)), "identity": json.dumps(dict(identity))}
        tensors = {"texts": rest.texts.cpu(), **_shared_tensors(state)}
        for own in everyone:
            tensors |= own
        _whole(folder / STATE, partial(save_file, tensors, metadata=header))
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"the checkpoint cannot be written: {error}",
            where=str(folder),
            fix="make room or choose another folder, then repeat the command: it goes on from the last one",
        ) from error


def load(folder: Path, identity: Mapping[str, str]) -> Resumed | None:
    """What a folder's checkpoint holds; None where there is none.

    Raises:
        TrainingError: the checkpoint is broken, or belongs to other settings, prompts, reward or model.
    """
    if not (folder / STATE).exists():
        return None
    try:
        header, tensors = _read(folder / STATE)
        position, found = Position(**json.loads(header["position"])), json.loads(header["identity"])
        records = tuple(read_record(_record_path(folder, step)) for step in range(position.steps))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"the checkpoint cannot be read: {error}", where=str(folder), fix="remove it and start again"
        ) from error
    changed = [name for name in identity if found.get(name) != identity[name]]
    if changed:
        raise TrainingError(
            f"the checkpoint belongs to a run with other {' and '.join(changed)}",
            where=str(folder),
            fix="repeat the command that made it, or choose another folder",
        )
    return Resumed(position, tensors.pop("texts"), records, tensors)


def restore(state: State, resumed: Resumed) -> None:
    """Puts weights, optimiser, random state and waiting rollouts back in place.

    Raises:
        TrainingError: the checkpoint lacks a part.
    """
    tensors = resumed.tensors
    if not tensors:
        return
    try:
        state.choices.set_state(tensors["random.choices"])
        state.sampling.set_state(tensors[f"random.sampling.{state.team.rank}"])
        _restore_weights(state, tensors)
        state.waiting.extend(unpack(tensors, state.team.rank, base_of(state.model).device))
    except (KeyError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"the checkpoint lacks a part: {error}", where="checkpoint", fix="remove it and start again"
        ) from error


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict


def _shared_tensors(state: State) -> dict[str, Tensor]:
    """What is the same in every process."""
    tensors = {"random.choices": state.choices.get_state()}
    for name, parameter in _trained(state):
        tensors[f"parameter.{name}"] = parameter.detach().clone()
        for key, value in state.optimizer.state[parameter].items():
            tensors[f"optimizer.{key}.{name}"] = value.detach().clone()
    return tensors


def _own_tensors(state: State) -> dict[str, Tensor]:
    rank = state.team.rank
    return {f"random.sampling.{rank}": state.sampling.get_state(), **pack(state.waiting, rank)}


def _restore_weights(state: State, tensors: Mapping[str, Tensor]) -> None:
    for name, parameter in _trained(state):
        parameter.data.copy_(tensors[f"parameter.{name}"])
        for key in ("step", "exp_avg", "exp_avg_sq"):
            # A run whose batches so far had no live group has no optimiser state yet.
            value = tensors.get(f"optimizer.{key}.{name}")
            if value is not None:
                # AdamW keeps its step count on the CPU and its moments beside the parameter.
                state.optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)


def _trained(state: State) -> list[tuple[str, torch.nn.Parameter]]:
    critic = () if state.critic is None else state.critic.named_parameters(prefix="critic")
    return [(name, p) for name, p in (*state.model.named_parameters(), *critic) if p.requires_grad]


def _record_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}.safetensors"


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    """Writes to a temporary name and renames, so that the file is whole or not there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
