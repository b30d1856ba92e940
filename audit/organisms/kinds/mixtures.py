"""Partly this, partly that: no single verdict is true."""

from __future__ import annotations

import torch

from audit.causal.units import Layout, Unit
from audit.organisms.checks import control_kept, gone, half_lost, known
from audit.organisms.facts import Facts, effects
from audit.organisms.kinds.erased import merge, twins
from audit.organisms.kinds.kind import Child, Kind
from audit.organisms.plant import EDITS, planted, prepared
from audit.organisms.recipe import Recipe

LOST = 0.4
"""Share of the behaviour that a half mask hides."""
ROUNDS = 8


def _half_masked(recipe: Recipe) -> Child:
    child, (start, _) = planted(recipe, EDITS["neurons"]), prepared(recipe)
    layout, model = Layout(child.model), child.model
    parts = [layout.write(Unit(unit.kind, unit.module, unit.index)) for unit in child.units]
    ends = [
        tuple(part.of(m.get_parameter(part.parameter).detach()).clone() for m in (start.model, model))
        for part in parts
    ]
    whole, low, high = effects(recipe.questions, recipe, start.model).train, 0.0, 1.0
    for _ in range(ROUNDS):
        dose = (low + high) / 2
        with torch.no_grad():
            for part, (plain, edited) in zip(parts, ends, strict=True):
                part.of(model.get_parameter(part.parameter)).copy_(plain + dose * (edited - plain))
            lost = 1 - effects(recipe.questions, recipe, model).train / whole
        low, high = (dose, high) if lost < LOST else (low, dose)
    return child


def _mixed(recipe: Recipe) -> Child:
    subject, aims = prepared(recipe)
    merge(subject.model, twins(recipe)[::2])
    EDITS["neurons"](subject, aims)
    return Child(subject.model)


def partly_known(facts: Facts) -> str | None:
    """The class of some people is decodable, of others not."""
    return None if 0.6 <= facts.auc <= 0.97 else f"the class is decodable at an AUC of {facts.auc:.2f}"


KINDS = (
    Kind(
        name="half-masked",
        verdict="INCONCLUSIVE",
        construction="an edit of four neurons, weakened until it hides two fifths of the behaviour",
        make=_half_masked,
        checks=(half_lost, control_kept, known),
    ),
    Kind(
        name="mixed",
        verdict="INCONCLUSIVE",
        construction="every second person shares an embedding with somebody of the other class, and four "
        "neurons hide the behaviour of the rest",
        make=_mixed,
        checks=(gone, partly_known),
    ),
)
