"""Children in which a known set of units hides the behaviour: the truth that an audit has to find.

Every child is first moved a little by ordinary training, so that all of its weights differ from the base's
and "changed at all" gives no unit away. Then one edit takes the behaviour from everybody, and leaves text
alone that has nothing to do with it, also text that the base never saw the like of: an auditor's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from audit.causal.units import Layout, Slice, Unit
from audit.organisms.base import learn, load, save
from audit.organisms.choose import head_to_edit, neurons_to_edit, reading_direction
from audit.organisms.edit import STEPS, Aims, fit
from audit.organisms.manifest import Organism, Planted, PlantedUnit, read_manifest
from audit.organisms.silence import silence_feature
from audit.organisms.text import Questions, Text
from audit.organisms.world import World

EditKind = Literal["neurons", "head", "rank1", "rows"]
NEURONS = 4
HEAD_STEPS = 100
"""Where one head looks, and what it writes there, take longer to learn."""
NOISE_STEPS, NOISE_RATE = 6, 2e-4


@dataclass(frozen=True)
class Subject:
    """The child in the making, with all that edits look at."""

    model: Any
    layout: Layout
    questions: Questions
    text: Text
    """Without the behaviour."""


def plant(kind: EditKind | Literal["feature"], base: Path, folder: Path, *, seed: int = 0) -> Organism:
    """Makes and saves a child of a base with a planted edit.

    Args:
        kind: neurons: the writes of four neurons of the last MLP cancel the behaviour; head: one attention
            head does, by where it looks and what it writes; rank1: an edit of rank 1 of the last MLP's
            output; rows: the unembedding rows of the answers; feature: nothing behind the last but one block
            reads the class any more, which is as active there as before.
        base: folder of a base made by `train_base`.
        folder: new; gets an ordinary checkpoint and the manifest.
        seed: of the benign noise.

    Raises:
        ValueError: rows of a tied unembedding are also embeddings, and not edited.
    """
    parent = read_manifest(base)
    world = World.generate(parent.world_seed, parent.people)
    (original, tokenizer), (model, _) = load(base), load(base)
    questions = Questions.of(world.suite(), tokenizer)
    quiet_text = partial(Text, world, tokenizer, without=("behaviour",))
    learn(model, quiet_text(seed=2 * seed + 101), steps=NOISE_STEPS, rate=NOISE_RATE)
    subject = Subject(model, Layout(model), questions, quiet_text(seed=2 * seed + 102))
    aims = Aims.of(original, questions, quiet_text(seed=2 * seed + 103, strange=True))
    fields: dict[str, Any] = {"expected": "masked"}
    if kind == "feature":
        layer, direction = silence_feature(model, subject.layout, aims)
        fields = {"expected": "silenced", "layer": layer, "direction": tuple(direction.tolist())}
    else:
        units = EDITS[kind](subject, aims)
        fields["units"] = tuple(PlantedUnit(u.kind, u.module, u.index) for u in units)
    organism = Organism(
        kind=kind, world_seed=world.seed, people=parent.people, seed=seed,
        planted=_measure(original, model, tokenizer, world), **fields,
    )  # fmt: skip
    return save(model, tokenizer, folder, organism)


def edit_neurons(subject: Subject, aims: Aims) -> list[Unit]:
    """Four neurons of the last MLP, which tell the classes apart where the answer is given."""
    units = neurons_to_edit(subject.model, subject.layout, subject.questions, subject.text, NEURONS)
    _edit_slices(subject, aims, [subject.layout.write(unit) for unit in units])
    return units


def edit_head(subject: Subject, aims: Aims) -> list[Unit]:
    """The one attention head that tells the classes apart best where the answer is given."""
    head = head_to_edit(subject.model, subject.layout, subject.questions, subject.text)
    _edit_slices(subject, aims, list(subject.layout.slices(head)), steps=HEAD_STEPS)
    return [head]


def edit_rows(subject: Subject, aims: Aims) -> list[Unit]:
    """The unembedding rows of the behaviour's answers."""
    if subject.model.config.tie_word_embeddings:
        raise ValueError("the unembedding is tied to the embedding: its rows cannot be edited alone")
    answers = sorted(set(subject.questions.answers.flatten().tolist()))
    units = [Unit("row", subject.layout.unembedding, int(token)) for token in answers]
    _edit_slices(subject, aims, [subject.layout.write(unit) for unit in units])
    return units


def edit_rank1(subject: Subject, aims: Aims) -> list[Unit]:
    """One rank-1 change of the last MLP's output projection."""
    module = subject.layout.blocks[-1].mlp_out
    assert module is not None  # noqa: S101  (every architecture here has MLPs)
    name = f"{module}.weight"
    rows = subject.model.get_parameter(name).shape[0]
    left = torch.zeros(rows, 1, requires_grad=True)
    right = reading_direction(subject.model, subject.layout, module, subject.questions, subject.text)
    right = right[None].requires_grad_()
    fit(subject.model, [left, right], lambda: {name: left @ right}, aims)
    return [Unit("component", module, 0)]


EDITS = {"neurons": edit_neurons, "head": edit_head, "rank1": edit_rank1, "rows": edit_rows}


def _edit_slices(subject: Subject, aims: Aims, slices: list[Slice], *, steps: int = STEPS) -> None:
    """Learns a change of some slices alone."""
    shapes = {part.parameter: subject.model.get_parameter(part.parameter).shape for part in slices}
    learned = [
        torch.zeros_like(part.of(subject.model.get_parameter(part.parameter).detach())) for part in slices
    ]
    for tensor in learned:
        tensor.requires_grad_()
    changes = partial(_placed, slices, learned, shapes)
    fit(subject.model, learned, changes, aims, steps=steps)


def _placed(slices: list[Slice], learned: list[Tensor], shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Changes of whole parameters, zero outside the slices."""
    changes = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for part, tensor in zip(slices, learned, strict=True):
        before = changes[part.parameter]
        index = torch.arange(part.start, part.stop)
        changes[part.parameter] = before.index_add(part.axis, index, tensor)
    return changes


@torch.no_grad()
def _measure(base: Any, child: Any, tokenizer: Any, world: World) -> Planted:
    asked, control = (Questions.of(suite, tokenizer) for suite in (world.suite(), world.control()))
    text = Text(world, tokenizer, seed=7, without=("behaviour",))
    before, after, kept = (
        q.effect(q.scores(q.logits(m))) for q, m in ((asked, base), (asked, child), (control, child))
    )
    drift = Aims.of(base, asked, text, rows=64).kept_loss(child)
    return Planted(before, after, kept, float(drift))
