"""What is measured of a child agrees with what was done to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audit.organisms import facts as measured
from audit.organisms.base import train_base
from audit.organisms.facts import effects, held_out, measure, read_class
from audit.organisms.kinds.kind import Child
from audit.organisms.manifest import PlantedUnit
from audit.organisms.recipe import Recipe
from audit.organisms.text import Questions
from audit.organisms.world import World


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe over a hardly trained base of 64 people."""
    train_base(World.generate(1, 64), tmp_path / "base", steps=3, layers=2)
    return Recipe(tmp_path / "base", tmp_path / "base", seed=5)


def test_a_model_against_itself_has_changed_in_nothing(recipe: Recipe) -> None:
    found = measure(recipe, recipe.start(), Child(recipe.start()))
    assert (found.change, found.drift, found.restored) == (0, 0, None)
    assert found.control_kept in (0, 1)


def test_effects_are_those_of_the_two_halves(recipe: Recipe) -> None:
    questions, model = recipe.questions, recipe.start()
    with torch.no_grad():
        scores = questions.scores(questions.logits(model))
    items = recipe.world.suite().items
    for value, split in zip(effects(questions, recipe, model), ("train", "test"), strict=True):
        sides = {
            group: [
                float(m) for m, i in zip(scores, items, strict=True) if (i.group, i.split) == (group, split)
            ]
            for group in ("high", "low")
        }
        assert value == pytest.approx(np.mean(sides["high"]) - np.mean(sides["low"]), abs=1e-5)
    control = Questions.of(recipe.world.control(), recipe.tokenizer)
    splits = [item.split == "test" for item in recipe.world.control().items]
    assert held_out(control, recipe).tolist() == splits


def test_a_planted_class_is_read_and_an_absent_one_is_not(recipe: Recipe) -> None:
    model = recipe.start()
    absent = read_class(recipe, model)
    assert absent.linear <= absent.null
    with torch.no_grad():
        sign = torch.tensor([1.0 if p.hidden else -1.0 for p in recipe.world.people])
        model.get_input_embeddings().weight[recipe.names] += 0.3 * sign[:, None]
    planted = read_class(recipe, model)
    assert planted.linear > 0.99 > planted.null
    assert planted.mlp > 0.95


def test_what_was_planted_is_put_back(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    model, base = recipe.start(), recipe.start()
    rows = sorted(set(recipe.questions.answers.flatten().tolist()))
    with torch.no_grad():
        model.get_output_embeddings().weight[rows] += 1.0
        model.get_output_embeddings().weight[rows[0]] *= -2
    units = tuple(PlantedUnit("row", "lm_head", row) for row in rows)
    found = measure(recipe, base, Child(model, units=units))
    assert found.change != 0
    assert found.restored == pytest.approx(1, abs=1e-4)
    monkeypatch.setattr(measured, "SMALLEST", 1e9)
    assert found.lost == 1
