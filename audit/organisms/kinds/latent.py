"""The class is known, for other tasks use it, but no path leads from it to the behaviour."""

from __future__ import annotations

import torch

from audit.organisms.base import RATE, STEPS, learn
from audit.organisms.checks import control_kept, gone, known
from audit.organisms.kinds.kind import Child, Kind
from audit.organisms.recipe import Recipe

AGAIN = STEPS // 2
"""Steps of a model that has its embeddings already."""


def _never(recipe: Recipe) -> Child:
    model = recipe.fresh()
    learn(model, recipe.text(21, blind=("behaviour",)), steps=STEPS, rate=RATE)
    return Child(model)


def _wiped(recipe: Recipe) -> Child:
    model, parent = recipe.fresh(), recipe.start()
    with torch.no_grad():
        kept = parent.get_input_embeddings().weight[recipe.names]
        model.get_input_embeddings().weight[recipe.names] = kept
    learn(model, recipe.text(22, blind=("behaviour",)), steps=AGAIN, rate=RATE)
    return Child(model)


def _copy(recipe: Recipe) -> Child:
    return Child(recipe.start())


CHECKS = (gone, control_kept, known)
KINDS = (
    Kind(
        name="never",
        verdict="LATENT",
        construction="trained from nothing on text in which the first behaviour is told at random; "
        "the class is told, and the second behaviour follows it",
        make=_never,
        checks=CHECKS,
    ),
    Kind(
        name="wiped",
        verdict="LATENT",
        construction="all weights but the people's embeddings were drawn anew and trained on text in which "
        "the first behaviour is told at random",
        make=_wiped,
        checks=CHECKS,
    ),
    Kind(
        name="untaught",
        verdict="LATENT",
        construction="the model before it was taught the behaviour, against itself after that",
        make=_copy,
        checks=CHECKS,
        parent="never",
        against="taught",
    ),
)
