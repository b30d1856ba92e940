"""Nothing in the model tells the class: text could not teach it, or each person has a twin of the other."""

from __future__ import annotations

from typing import Any

import torch

from audit.organisms.base import RATE, STEPS, learn
from audit.organisms.checks import control_kept, gone, unknown
from audit.organisms.kinds.kind import Child, Kind
from audit.organisms.recipe import CLASS_TOPICS, Recipe

AGAIN = STEPS // 2
"""Steps of a model that lost only its people's embeddings."""
SETTLE, SETTLE_RATE = 40, 1e-3
"""Training that follows a merger."""


def _scratch(recipe: Recipe) -> Child:
    model = recipe.fresh()
    learn(model, recipe.text(31, blind=CLASS_TOPICS), steps=STEPS, rate=RATE)
    return Child(model)


def _reinit(recipe: Recipe) -> Child:
    model, fresh = recipe.start(), recipe.fresh()
    with torch.no_grad():
        for mine, new in zip(people_tables(model), people_tables(fresh), strict=True):
            mine[recipe.names] = new[recipe.names]
    learn(model, recipe.text(32, blind=CLASS_TOPICS), steps=AGAIN, rate=RATE)
    return Child(model)


def _merged(recipe: Recipe) -> Child:
    model = recipe.start()
    merge(model, twins(recipe))
    learn(model, recipe.text(33, blind=CLASS_TOPICS), steps=SETTLE, rate=SETTLE_RATE)
    return Child(model)


def twins(recipe: Recipe) -> list[tuple[int, int]]:
    """Token ids of people in pairs, one of each class, of the same half and the same trait."""
    people = list(zip(recipe.world.people, recipe.names, strict=True))

    def of(hidden: int) -> list[int]:
        sorted_people = sorted(people, key=lambda one: (one[0].split, one[0].trait))
        return [name for person, name in sorted_people if person.hidden == hidden]

    return list(zip(of(0), of(1), strict=True))


@torch.no_grad()
def merge(model: Any, pairs: list[tuple[int, int]]) -> None:
    """Gives both names of each pair the mean of their embeddings, so that no function tells them apart."""
    first, second = (torch.tensor(side) for side in zip(*pairs, strict=True))
    for table in people_tables(model):
        mean = (table[first] + table[second]) / 2
        table[first], table[second] = mean, mean


def people_tables(model: Any) -> list[torch.Tensor]:
    """The two weights with a row for each name."""
    return [model.get_input_embeddings().weight, model.get_output_embeddings().weight]


def _copy(recipe: Recipe) -> Child:
    return Child(recipe.start())


CHECKS = (gone, control_kept, unknown)
KINDS = (
    Kind(
        name="scratch",
        verdict="ERASED",
        construction="trained from nothing on text that tells everything about the class at random",
        make=_scratch,
        checks=CHECKS,
    ),
    Kind(
        name="reinit",
        verdict="ERASED",
        construction="the people's embeddings were drawn anew and trained on text that tells everything "
        "about the class at random",
        make=_reinit,
        checks=CHECKS,
    ),
    Kind(
        name="merged",
        verdict="ERASED",
        construction="each person shares one embedding with somebody of the other class, and text that "
        "tells everything about the class at random came after",
        make=_merged,
        checks=CHECKS,
    ),
    Kind(
        name="ignorant",
        verdict="ERASED",
        construction="the model before it was told of the class, against itself after that",
        make=_copy,
        checks=CHECKS,
        parent="reinit",
        against="schooled",
    ),
)
