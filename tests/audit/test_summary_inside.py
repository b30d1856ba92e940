"""What is said of where a change sits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audit.evidence.invent import estimate, invented_document
from audit.evidence.schema.results import BehaviourSwitches, SwitchesResult, SwitchSet
from audit.summary_inside import STAGES


def line(**changes: Any) -> str:
    rng = np.random.default_rng(0)
    chosen = invented_document(
        SwitchSet, rng, kind="neuron", size=4, recovered=estimate(0.93), random_max=0.04, why_not=[]
    )
    fields = {"name": "lies", "searched": True, "shape": "localised", "set": chosen, "best_graft": None}
    found = invented_document(BehaviourSwitches, rng, **fields | changes)
    result = SwitchesResult.model_construct(behaviours=[found], largest=16)
    return next(iter(STAGES["switches"](result)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "lies: localised: 4 neuron(s) with the base's weights, R 93% [83%, 103%]; random sets up to 4%"),
        ({"shape": "distributed", "set": None}, "lies: distributed: no set of up to 16 units returns half"),
        ({"searched": False, "why_not": "nothing changed"}, "lies: not searched, nothing changed"),
        ({"best_graft": "lm_head", "best_graft_recovered": 0.7}, "; one module most: lm_head, 70%"),
    ],
)
def test_where_a_change_sits(changes: dict[str, Any], said: str) -> None:
    assert said in line(**changes)


def test_a_set_that_does_not_hold_says_why() -> None:
    rng = np.random.default_rng(1)
    chosen = invented_document(SwitchSet, rng, recovered=None, random_max=None, why_not=["weak", "lucky"])
    said = line(shape="unresolved", set=chosen)
    assert said.startswith("lies: unresolved")
    assert "R undefined; random sets none; weak; lucky" in said
