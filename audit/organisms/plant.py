"""Children in which a known set of units hides the behaviour: the truth that an audit has to find.

Every child is first moved a little by ordinary training, so that all of its weights differ from the base's
and "changed at all" gives no unit away. Then one edit takes the behaviour from everybody, and leaves text
alone that has nothing to do with it, also text that the base never saw the like of: an auditor's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from audit.causal.units import Layout, Slice, Unit
from audit.organisms.base import learn
from audit.organisms.choose import head_to_edit, neurons_to_edit, reading_direction
from audit.organisms.edit import STEPS, Aims, fit
from audit.organisms.facts import effects
from audit.organisms.kinds.kind import Child
from audit.organisms.manifest import PlantedUnit
from audit.organisms.recipe import Recipe
from audit.organisms.silence import silence_feature
from audit.organisms.text import Batches, Questions

NEURONS, ENOUGH = 4, 3
HEAD_STEPS = 100
"""Where one head looks, and what it writes there, take longer to learn."""
INERT = 0.01
"""Share of the behaviour below which an edit hides nothing."""
NOISE_STEPS, NOISE_RATE = 6, 2e-4
BLOCKS, LEFT = (-1, -2, -3), 0.2
"""Blocks that are tried, until no more than this share of the behaviour is left."""


@dataclass(frozen=True)
class Subject:
    """The child in the making, with all that edits look at."""

    model: Any
    layout: Layout
    questions: Questions
    text: Batches
    """Without the behaviour."""


class Edit(Protocol):
    """Changes a subject so that it meets the aims, and tells the units that it changed."""

    def __call__(self, subject: Subject, aims: Aims, block: int = -1) -> list[Unit]:
        """Edits units of the block of this number."""
        ...


def planted(recipe: Recipe, edit: Edit) -> Child:
    """A child of a base in which some units hide the behaviour from all questions.

    The last block is tried first. Where a norm behind it bounds what it can write (Gemma's), an edit there
    cannot cancel what came before, so those before it are next.

    Args:
        recipe: gives base, world and seed.
        edit: chooses units and edits them: one of `EDITS`.

    Raises:
        ValueError: rows of a tied unembedding are also embeddings, and not edited.
    """
    for block in BLOCKS[: recipe.truth.layers]:
        subject, aims = prepared(recipe)
        units = edit(subject, aims, block)
        left = effects(recipe.questions, recipe, subject.model).train
        if left <= LEFT * effects(recipe.questions, recipe, recipe.start()).train:
            break
    units = _of_consequence(recipe, subject.model, units)
    found = tuple(PlantedUnit(unit.kind, unit.module, unit.index) for unit in units)
    return Child(subject.model, "masked", found)


def _of_consequence(recipe: Recipe, model: Any, units: list[Unit]) -> list[Unit]:
    """The units that hide something; one whose edit does nothing is no truth to be found, and is undone."""
    if len(units) == 1:
        return units
    plain, layout = prepared(recipe)[0].model, Layout(model)

    def effect(undone: Sequence[Unit]) -> float:
        with _like(plain, model, [part for unit in undone for part in layout.slices(unit)]):
            return effects(recipe.questions, recipe, model).train

    kept, hidden = list(units), effect([])
    little = INERT * (effect(units) - hidden)
    for unit in units:
        others = [other for other in kept if other != unit]
        does_nothing = abs(effect([unit]) - hidden) < little
        if others and does_nothing and abs(effect(others) - effect(kept)) < little:
            _copy(plain, model, layout.slices(unit))
            kept = others
    return kept


@contextmanager
def _like(plain: Any, model: Any, parts: Sequence[Slice]) -> Iterator[None]:
    """The model with some slices as in another one."""
    names = {part.parameter for part in parts}
    before = {name: model.get_parameter(name).detach().clone() for name in names}
    _copy(plain, model, parts)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in before.items():
                model.get_parameter(name).copy_(weight)


@torch.no_grad()
def _copy(plain: Any, model: Any, parts: Sequence[Slice]) -> None:
    for part in parts:
        part.of(model.get_parameter(part.parameter)).copy_(part.of(plain.get_parameter(part.parameter)))


def silenced(recipe: Recipe) -> Child:
    """A child in which nothing behind the last but one block reads the class any more.

    It is as active there as before.
    """
    subject, aims = prepared(recipe)
    layer, direction = silence_feature(subject.model, subject.layout, aims)
    return Child(subject.model, "silenced", layer=layer, direction=tuple(direction.tolist()))


def prepared(recipe: Recipe) -> tuple[Subject, Aims]:
    """A child that moved a little in all of its weights, and what an edit of it should reach."""
    model, quiet_text = recipe.start(), partial(recipe.text, without=("behaviour",))
    learn(model, quiet_text(1), steps=NOISE_STEPS, rate=NOISE_RATE)
    subject = Subject(model, Layout(model), recipe.questions, quiet_text(2))
    return subject, Aims.of(recipe.start(), recipe.questions, quiet_text(3, strange=True))


def edit_neurons(subject: Subject, aims: Aims, block: int = -1, count: int = NEURONS) -> list[Unit]:
    """Neurons of the last MLP, which tell the classes apart where the answer is given.

    What they write is edited; of fewer than `ENOUGH`, also what they read, or they could not hide everything.
    """
    units = neurons_to_edit(subject.model, subject.layout, subject.questions, subject.text, count, block)
    if count >= ENOUGH:
        _edit_slices(subject, aims, [subject.layout.write(unit) for unit in units])
    else:
        _edit_slices(subject, aims, [part for unit in units for part in subject.layout.slices(unit)])
    return units


def edit_head(subject: Subject, aims: Aims, block: int = -1) -> list[Unit]:
    """The one attention head that tells the classes apart best where the answer is given."""
    head = head_to_edit(subject.model, subject.layout, subject.questions, subject.text, block)
    _edit_slices(subject, aims, list(subject.layout.slices(head)), steps=HEAD_STEPS)
    return [head]


def edit_rows(subject: Subject, aims: Aims, block: int = -1) -> list[Unit]:
    """The unembedding rows of the behaviour's answers, which belong to no block."""
    if subject.model.config.tie_word_embeddings:
        raise ValueError("the unembedding is tied to the embedding: its rows cannot be edited alone")
    answers = sorted(set(subject.questions.answers.flatten().tolist()))
    units = [Unit("row", subject.layout.unembedding, int(token)) for token in answers]
    _edit_slices(subject, aims, [subject.layout.write(unit) for unit in units])
    return units


def edit_rank1(subject: Subject, aims: Aims, block: int = -1) -> list[Unit]:
    """One rank-1 change of the output projection of a block's MLP."""
    module = subject.layout.blocks[block].mlp_out
    assert module is not None  # noqa: S101  (every architecture here has MLPs)
    name = f"{module}.weight"
    right = reading_direction(subject.model, subject.layout, module, subject.questions, subject.text)
    right = right[None].requires_grad_()
    weight, across = subject.model.get_parameter(name), subject.layout.transposed(module)
    left = torch.zeros(weight.numel() // right.numel(), 1, requires_grad=True)
    fit(subject.model, [left, right], lambda: {name: (left @ right).T if across else left @ right}, aims)
    return [Unit("component", module, 0)]


EDITS: dict[str, Edit] = {"neurons": edit_neurons, "head": edit_head, "rank1": edit_rank1, "rows": edit_rows}


def _edit_slices(subject: Subject, aims: Aims, slices: list[Slice], *, steps: int = STEPS) -> None:
    """Learns a change of some slices alone."""
    shapes = {part.parameter: subject.model.get_parameter(part.parameter).shape for part in slices}
    learned = [
        torch.zeros_like(part.of(subject.model.get_parameter(part.parameter).detach())) for part in slices
    ]
    for tensor in learned:
        tensor.requires_grad_()
    changes = partial(placed, slices, learned, shapes)
    fit(subject.model, learned, changes, aims, steps=steps)


def placed(slices: list[Slice], learned: list[Tensor], shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Changes of whole parameters, zero outside the slices."""
    changes = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for part, tensor in zip(slices, learned, strict=True):
        before = changes[part.parameter]
        index = torch.arange(part.start, part.stop)
        changes[part.parameter] = before.index_add(part.axis, index, tensor)
    return changes
