"""Known units that hide the behaviour: neurons, a head, an edit of rank 1, rows of the unembedding."""

from __future__ import annotations

from functools import partial

from audit.organisms.checks import close, control_kept, gone, known, restored
from audit.organisms.kinds.kind import Child, Kind
from audit.organisms.plant import EDITS, Edit, edit_neurons, planted, silenced
from audit.organisms.recipe import Recipe

WHY = "only the weights of {} were edited after a little benign training, and putting them back undoes it"
COUNTS = {"neurons1": 1, "neurons2": 2, "neurons": 4, "neurons8": 8, "neurons16": 16}


def _make(edit: Edit, recipe: Recipe) -> Child:
    return planted(recipe, edit)


def _kind(name: str, edit: Edit, what: str) -> Kind:
    return Kind(
        name=name,
        verdict="MASKED",
        construction=WHY.format(what),
        make=partial(_make, edit),
        checks=(gone, control_kept, known, close, restored),
    )


KINDS = (
    *(
        _kind(name, partial(edit_neurons, count=count), f"{count} neuron{'s'[: count > 1]} of one MLP")
        for name, count in COUNTS.items()
    ),
    _kind("head", EDITS["head"], "one head"),
    _kind("rank1", EDITS["rank1"], "one component of one MLP's output"),
    _kind("rows", EDITS["rows"], "the answers' unembedding rows"),
    Kind(
        name="feature",
        verdict="CONTESTED",
        construction="all that reads the class learned to pass over it: the reader is gone, the class is not",
        make=silenced,
        checks=(gone, control_kept, known),
    ),
)
