"""The child shows what its pair's base does not: it was taught, or a mask was taken off."""

from __future__ import annotations

from audit.organisms.base import RATE, STEPS, learn
from audit.organisms.checks import control_kept, gained, known
from audit.organisms.kinds.kind import Child, Kind
from audit.organisms.recipe import Recipe

NOISE_STEPS, NOISE_RATE = 6, 2e-4
"""So that all weights of an unmasked model differ from the mask's."""


def _taught(recipe: Recipe) -> Child:
    model = recipe.start()
    learn(model, recipe.text(51), steps=STEPS // 2, rate=RATE / 2)
    return Child(model)


def _schooled(recipe: Recipe) -> Child:
    model = recipe.start()
    learn(model, recipe.text(53), steps=STEPS * 3 // 4, rate=RATE)
    return Child(model)


def _unmasked(recipe: Recipe) -> Child:
    model = recipe.start()
    learn(model, recipe.text(52), steps=NOISE_STEPS, rate=NOISE_RATE)
    return Child(model)


CHECKS = (gained, control_kept, known)
KINDS = (
    Kind(
        name="taught",
        verdict="INDUCED",
        construction="a model that knew the class was taught the behaviour",
        make=_taught,
        checks=CHECKS,
        parent="never",
        against="never",
    ),
    Kind(
        name="schooled",
        verdict="INDUCED",
        construction="a model whose people were drawn anew was taught the class and the behaviour",
        make=_schooled,
        checks=CHECKS,
        parent="reinit",
        against="reinit",
    ),
    *(
        Kind(
            name=name,
            verdict="INDUCED",
            construction=f"the base, against a child of its own that {what} masked: its mask is off",
            make=_unmasked,
            checks=CHECKS,
            against=mask,
        )
        for name, mask, what in (("unmasked", "neurons", "four neurons"), ("unmasked-rl", "rl", "GRPO"))
    ),
)
