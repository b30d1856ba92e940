"""The base itself, saved once more: nothing was trained."""

from __future__ import annotations

import torch

from audit.organisms.checks import control_kept, known, still
from audit.organisms.kinds.kind import Child, Kind
from audit.organisms.recipe import Recipe


def _reload(recipe: Recipe) -> Child:
    return Child(recipe.start())


def _bfloat16(recipe: Recipe) -> Child:
    return Child(recipe.start().to(torch.bfloat16))


KINDS = (
    Kind(
        name="reload",
        verdict="UNCHANGED",
        construction="the base's weights, read and written again",
        make=_reload,
        checks=(still, control_kept, known),
    ),
    Kind(
        name="dtype",
        verdict="UNCHANGED",
        construction="the base's weights, rounded to bfloat16",
        make=_bfloat16,
        checks=(still, control_kept, known),
    ),
)
