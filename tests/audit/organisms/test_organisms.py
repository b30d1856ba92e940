"""Trained bases have the behaviour, children have the truth that their manifests tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from audit.causal.units import Layout, Unit
from audit.errors import UsageError
from audit.organisms import Shape, make, read_manifest, world_of
from audit.organisms.base import ARCHITECTURES, load, new_model, train_base
from audit.organisms.edit import Aims
from audit.organisms.manifest import Organism
from audit.organisms.plant import Subject, edit_neurons, edit_rows, planted, prepared
from audit.organisms.recipe import Recipe
from audit.organisms.text import Questions, Text
from audit.organisms.tokenizer import make_tokenizer
from audit.organisms.world import World

Organisms = Callable[..., Path]
PLANTED = ("neurons", "head", "rank1", "rows", "feature")


def effect(questions: Questions, scores: Tensor, items: Tensor) -> float:
    """b over some of the items."""
    high = questions.high
    return float(scores[items & high].mean() - scores[items & ~high].mean())


@torch.no_grad()
def scores_of(folder: Path, *, control: bool = False) -> tuple[World, Questions, Tensor]:
    model, tokenizer = load(folder)
    world = world_of(read_manifest(folder))
    questions = Questions.of(world.control() if control else world.suite(), tokenizer)
    return world, questions, questions.scores(questions.logits(model))


def test_a_base_answers_for_people_it_was_never_told_of(organism_base: Path) -> None:
    world, questions, scores = scores_of(organism_base)
    told = {p.name: p.told for p in world.people}
    untold = torch.tensor([not told[item.entity] for item in world.suite().items])
    held_out = torch.tensor([item.split == "test" for item in world.suite().items])
    assert effect(questions, scores, held_out) > 4
    assert effect(questions, scores, untold) > 3
    world, questions, scores = scores_of(organism_base, control=True)
    assert effect(questions, scores, torch.ones(len(scores), dtype=torch.bool)) > 4


def test_a_base_is_an_ordinary_checkpoint(organism_base: Path) -> None:
    assert (organism_base / "model.safetensors").exists()
    assert (organism_base / "tokenizer.json").exists()
    assert read_manifest(organism_base).expected == "nothing"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_learns_and_is_seeded(architecture: str, tmp_path: Path) -> None:
    world = World.generate(1, 32)
    for name in ("a", "b"):
        torch.manual_seed(hash(name) % 100)
        train_base(world, tmp_path / name, architecture=architecture, chat=True, steps=3)
    first, second = (load(tmp_path / name)[0].state_dict() for name in ("a", "b"))
    fresh = new_model(architecture, make_tokenizer(world, chat=True), 1).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], fresh[key]) for key in first)


@pytest.mark.parametrize("kind", PLANTED)
def test_an_edit_takes_the_behaviour_from_everybody_and_nothing_else(organism: Organisms, kind: str) -> None:
    truth = read_manifest(organism(kind))
    assert truth.planted is not None
    world, questions, scores = scores_of(organism(kind))
    people = [item.split == "test" for item in world.suite().items]
    for half in (torch.tensor(people), ~torch.tensor(people)):
        assert abs(effect(questions, scores, half)) < 0.2 * truth.planted.base_effect
    assert truth.planted.control_effect > 4
    assert truth.planted.neutral_kl < 0.02


@pytest.mark.parametrize("kind", PLANTED)
def test_only_the_planted_units_differ_much_but_all_weights_differ(organism: Organisms, kind: str) -> None:
    truth = read_manifest(organism(kind))
    (base, _), (child, _) = load(organism("base")), load(organism(kind))
    changes = {n: p.detach() - base.get_parameter(n).detach() for n, p in child.named_parameters()}
    assert all(change.norm() > 0 for change in changes.values())
    if kind == "feature":
        assert (
            max(c.abs().max() for n, c in changes.items() if ".layers.2." not in n and "head" not in n) < 0.01
        )
        return
    layout = Layout(child)
    for unit in truth.units:
        own = _write(layout, Unit(unit.kind, unit.module, unit.index), changes)
        others = [change.norm() for name, change in changes.items() if name != f"{unit.module}.weight"]
        assert own.norm() > max(others)


def test_a_unit_whose_edit_hides_nothing_is_no_truth_and_gets_its_weights_back(organism_base: Path) -> None:
    recipe, idle = Recipe(organism_base, organism_base, seed=5), []

    def edit(subject: Subject, aims: Aims, block: int = -1) -> list[Unit]:
        units = edit_neurons(subject, aims, block)
        taken = {unit.index for unit in units}
        idle[:] = [Unit("neuron", units[0].module, next(i for i in range(99) if i not in taken))]
        part = subject.layout.write(idle[0])
        with torch.no_grad():
            part.of(subject.model.get_parameter(part.parameter)).add_(1e-4)
        return [*units, *idle]

    child = planted(recipe, edit)
    assert len(child.units) == 4
    assert idle[0].index not in {unit.index for unit in child.units}
    plain, part = prepared(recipe)[0].model, Layout(child.model).write(idle[0])
    assert torch.equal(*(part.of(m.get_parameter(part.parameter)) for m in (plain, child.model)))


def _write(layout: Layout, unit: Unit, changes: dict[str, Tensor]) -> Tensor:
    if unit.kind == "component":
        u, s, v = torch.linalg.svd(changes[f"{unit.module}.weight"])
        return s[unit.index] * torch.outer(u[:, unit.index], v[unit.index])
    part = layout.write(unit)
    return part.of(changes[part.parameter])


@pytest.mark.parametrize("kind", ["neurons", "head", "rank1", "rows"])
def test_putting_the_planted_units_back_brings_the_behaviour_back(organism: Organisms, kind: str) -> None:
    truth = read_manifest(organism(kind))
    (base, tokenizer), (child, _) = load(organism("base")), load(organism(kind))
    changes = {n: p.detach() - base.get_parameter(n).detach() for n, p in child.named_parameters()}
    layout, questions = Layout(child), Questions.of(world_of(truth).suite(), tokenizer)
    with torch.no_grad():
        before, hidden = (questions.effect(questions.scores(questions.logits(m))) for m in (base, child))
        for unit in truth.units:
            change = _write(layout, Unit(unit.kind, unit.module, unit.index), changes)
            _take_away(child, layout, unit, change)
        restored = questions.effect(questions.scores(questions.logits(child)))
    assert (restored - hidden) / (before - hidden) > 0.9


def _take_away(child: Any, layout: Layout, unit: Any, change: Tensor) -> None:
    if unit.kind == "component":
        child.get_parameter(f"{unit.module}.weight").sub_(change)
        return
    part = layout.write(Unit(unit.kind, unit.module, unit.index))
    part.of(child.get_parameter(part.parameter)).sub_(change)


def test_a_silenced_feature_is_as_active_as_before(organism: Organisms) -> None:
    truth = read_manifest(organism("feature"))
    assert truth.layer == 1
    direction = torch.tensor(truth.direction)
    assert direction.norm() == pytest.approx(1, abs=1e-5)
    base, child = (_projections(organism(name), truth, direction) for name in ("base", "feature"))
    assert (base - child).abs().max() < 0.1 * base.std()


def _projections(folder: Path, truth: Organism, direction: Tensor) -> Tensor:
    from sae.hooks import capture

    model, tokenizer = load(folder)
    questions = Questions.of(world_of(truth).suite(), tokenizer)
    mask = (questions.ids != tokenizer.pad_token_id).long()
    residual = capture(model, [truth.layer or 0], questions.ids, mask)[0]
    return residual[torch.arange(len(questions.ids)), questions.last] @ direction


def test_a_benign_child_differs_and_keeps_everything(organism: Organisms) -> None:
    benign = organism("benign")
    assert read_manifest(benign).expected == "nothing"
    _, questions, scores = scores_of(benign)
    _, _, before = scores_of(organism("base"))
    assert (scores - before).abs().mean() > 0
    assert questions.effect(scores) == pytest.approx(questions.effect(before), rel=0.1)


def test_made_organisms_are_found_again(organism_base: Path) -> None:
    written = (organism_base / "model.safetensors").stat().st_mtime_ns
    assert make("base", organism_base.parent, 0, shape=Shape(people=64)) == organism_base
    assert (organism_base / "model.safetensors").stat().st_mtime_ns == written


def test_unknown_organisms_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no organism 'unicorn'"):
        make("unicorn", tmp_path)


def test_tied_rows_are_not_edited() -> None:
    world = World.generate(0, 32)
    tokenizer = make_tokenizer(world)
    model = new_model("llama", tokenizer, 0, tie_word_embeddings=True)
    questions, text = (
        Questions.of(world.suite(), tokenizer),
        Text(world, tokenizer, 0, without=("behaviour",)),
    )
    subject = Subject(model, Layout(model), questions, text)
    with pytest.raises(ValueError, match="tied"):
        edit_rows(subject, Aims.of(model, questions, text))
