"""Relearning: how fast does ordinary training on some entities bring a behaviour back on others?

Early success on entities that the training never saw says that the wiring is there; late success does not,
for any model that knows the class learns any behaviour on it in the end. Its control is dose-matched: as many
steps towards as large an effect of classes that the model never had, dealt over the entities by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from audit.causal.objective import Objective
from audit.errors import CheckpointError
from audit.measures.bootstrap import FloatArray
from audit.measures.layout import Contrast, lay_out
from audit.progress import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WIDTH = 96
"""Width of the model at which `RelearnSettings.rate` is meant."""
DEALT: Contrast = ("dealt", "not dealt")
"""Groups of the control, where the behaviour is a level."""


@dataclass(frozen=True)
class RelearnSettings:
    """How a behaviour is taught again."""

    doses: tuple[int, ...]
    """Optimiser steps, ascending; the training goes on from one to the next."""
    rate: float = 2e-4
    """Of AdamW in a model of width 96; in another one it is times 96 / width, so that a step changes what
    layers write by as much (Yang et al. 2022, arXiv 2203.03466)."""
    items: int = 32
    """Items per step, at least."""
    batch_size: int = 16
    """Sequences per forward pass."""
    seed: int = 0
    """Of the order of the items."""


class Half(NamedTuple):
    """Some items, and the scores that are taught, or that would be reached if all were learned."""

    objective: Objective
    target: FloatArray


class Lesson(NamedTuple):
    """What is taught on one half of the entities and examined on the other."""

    fit: Half
    held: Half


class Taught(NamedTuple):
    """Scores after some steps; None: the training broke the model."""

    steps: int
    fit: FloatArray | None
    held: FloatArray | None


def relearned(
    model: PreTrainedModel, lesson: Lesson, settings: RelearnSettings, progress: Advance = lambda done: None
) -> list[Taught]:
    """Trains all weights towards the lesson's scores and examines them at every dose.

    Loss per step: mean over its items of huber((m - target) / s), s the mean |target - m| at the start.
    Afterwards the model is bit for bit what it was.

    Args:
        model: the one that lacks the behaviour.
        lesson: what is taught.
        settings: steps, rate and seed.
        progress: called with the number of steps done.
    """
    target = torch.as_tensor(lesson.fit.target, dtype=torch.float64)
    scale = float((target - lesson.fit.objective.scores(model, settings.batch_size)).abs().mean())
    found, broken = [], not scale
    with borrowed(model) as weights:
        adam = _Adam(weights, settings.rate * WIDTH / model.config.get_text_config().hidden_size)
        steps = _steps(lesson.fit.objective, settings)
        for step in range(1, max(settings.doses, default=0) + 1):
            if not broken:
                broken = not _step(model, lesson.fit.objective, target, scale, next(steps))
                adam.step()
            if step in settings.doses:
                found.append(Taught(step, *(_examined(model, half, settings, broken) for half in lesson)))
            progress(1)
    return found


def never_had(lesson: Lesson, before: tuple[FloatArray, FloatArray], seed: int) -> Lesson:
    """The same lesson about classes that no model ever had.

    Half of the entities are chosen by chance, evenly over the true classes and over both halves of the suite.
    In a contrast the chosen ones change sides, and are taught what the other side shows: a class that is
    unrelated to the true one. In a level the chosen ones alone are taught. The effect of the new class that
    is so asked for is about as large as the behaviour's.

    Args:
        lesson: about the behaviour.
        before: scores of both halves in the model that is taught.
        seed: of the dealing.
    """
    rng = np.random.default_rng([seed, 7])
    return Lesson(*(_dealt(half, now, rng) for half, now in zip(lesson, before, strict=True)))


@contextmanager
def borrowed(model: PreTrainedModel) -> Iterator[list[nn.Parameter]]:
    """For the length of a block every weight may be trained; then all are bit for bit what they were."""
    weights = [weight for weight in model.parameters() if weight.is_floating_point()]
    asked = [weight.requires_grad for weight in weights]
    saved = [weight.detach().to("cpu", copy=True) for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        yield weights
    finally:
        with torch.no_grad():
            for weight, before, wanted in zip(weights, saved, asked, strict=True):
                weight.copy_(before)
                weight.grad = None
                weight.requires_grad_(wanted)


class _Adam:
    """AdamW, on float32 copies of weights in a lower precision, in which small steps round to nothing."""

    def __init__(self, weights: Sequence[nn.Parameter], rate: float) -> None:
        self._weights = weights
        self._masters: list[Tensor] = [
            weight if weight.dtype == torch.float32 else weight.detach().float() for weight in weights
        ]
        self._adam = torch.optim.AdamW(self._masters, lr=rate)

    @torch.no_grad()
    def step(self) -> None:
        """One step along the weights' gradients, which are cleared."""
        for weight, master in zip(self._weights, self._masters, strict=True):
            if master is not weight and weight.grad is not None:
                master.grad = weight.grad.float()
        self._adam.step()
        for weight, master in zip(self._weights, self._masters, strict=True):
            if master is not weight:
                weight.copy_(master)
            weight.grad = None


def _step(
    model: PreTrainedModel, objective: Objective, target: Tensor, scale: float, batches: Sequence[list[int]]
) -> bool:
    """Adds up the gradient of one step; False where the model gives no finite scores any more."""
    items = sum(len(rows) for rows in batches)
    with torch.enable_grad():
        for rows in batches:
            try:
                away = (objective.m(model, rows) - target[rows].to(model.device)) / scale
            except CheckpointError:
                return False
            loss = nn.functional.huber_loss(away, torch.zeros_like(away), reduction="sum") / items
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return True


def _steps(objective: Objective, settings: RelearnSettings) -> Iterator[list[list[int]]]:
    """Batches of each step: all items once in random order, then again."""
    draw = torch.Generator().manual_seed(settings.seed)
    batches, step = list(objective.batches(settings.batch_size)), list[list[int]]()
    while True:
        for place in torch.randperm(len(batches), generator=draw).tolist():
            step.append(batches[place])
            if sum(len(rows) for rows in step) >= settings.items or len(step) == len(batches):
                yield step
                step = []


def _examined(
    model: PreTrainedModel, half: Half, settings: RelearnSettings, broken: bool
) -> FloatArray | None:
    if broken:
        return None
    try:
        return half.objective.scores(model, settings.batch_size).numpy()
    except CheckpointError:
        return None


def _dealt(half: Half, now: FloatArray, rng: np.random.Generator) -> Half:
    chosen = _chosen(half.objective, rng)
    return _level(half, now, chosen) if half.objective.contrast is None else _contrast(half, now, chosen, rng)


def _level(half: Half, now: FloatArray, chosen: set[str]) -> Half:
    own = half.objective
    dealt = np.array([entity in chosen for entity in own.entities])
    groups = tuple(DEALT[0] if one else DEALT[1] for one in dealt)
    return Half(_regrouped(own, groups, DEALT), np.where(dealt, half.target, now))


def _contrast(half: Half, now: FloatArray, chosen: set[str], rng: np.random.Generator) -> Half:
    """The chosen entities' items change their group, and are taught what items of that group show."""
    own, target = half.objective, half.target.copy()
    high, low = own.contrast or DEALT
    swap = {high: low, low: high}
    groups = tuple(
        swap.get(group or "", group) if entity in chosen else group
        for entity, group in zip(own.entities, own.groups, strict=True)
    )
    alike = {group: np.array([k for k, one in enumerate(own.groups) if one == group]) for group in swap}
    for place, (entity, group) in enumerate(zip(own.entities, groups, strict=True)):
        if group not in swap:
            target[place] = now[place]
        elif entity in chosen:
            target[place] = half.target[rng.choice(alike[group])]
    return Half(_regrouped(own, groups, (high, low)), target)


def _chosen(objective: Objective, rng: np.random.Generator) -> set[str]:
    """Half of the entities by chance, evenly over their true classes."""
    classes: dict[str, set[str | None]] = {}
    for entity, group in zip(objective.entities, objective.groups, strict=True):
        classes.setdefault(entity, set()).add(group)
    alike: dict[frozenset[str | None], list[str]] = {}
    for entity, own in classes.items():
        alike.setdefault(frozenset(own) if objective.contrast else frozenset(), []).append(entity)
    chosen: set[str] = set()
    for members in alike.values():
        odd = int(rng.integers(2))
        order = rng.permutation(len(members)).tolist()
        chosen |= {members[k] for place, k in enumerate(order) if (place + odd) % 2}
    return chosen


def _regrouped(objective: Objective, groups: tuple[str | None, ...], contrast: Contrast) -> Objective:
    """The same items with other groups, and so with another effect."""
    layout = lay_out(np.array(objective.entities, dtype=object), np.array(groups, dtype=object), contrast)
    weights = np.zeros(len(objective))
    weights[layout.kept] = layout.weight
    counted = torch.tensor(weights, dtype=torch.float64, device=objective.weights_N.device)
    return replace(objective, groups=groups, contrast=contrast, weights_N=counted)
