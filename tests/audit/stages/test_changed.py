"""A behaviour that only moved is not called switched."""

from __future__ import annotations

from typing import Any

import pytest

from audit.causal.held import Held
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import SuiteResult, TemplateResult
from audit.measures.bootstrap import Estimate as Measured
from audit.measures.effect import turned_share
from audit.organisms.world import World
from audit.stages.changed import no_switch


def result(base: float, tuned: float) -> SuiteResult:
    def known(value: float) -> Estimate:
        return Estimate(value=value, low=value - 0.1, high=value + 0.1, n=32)

    template: Any = TemplateResult.model_construct(
        template="plain", split="test", base=known(base), tuned=known(tuned), change=known(tuned - base),
        q_value=0.001,
    )  # fmt: skip
    return SuiteResult.model_construct(
        measurable=True, primary_template="plain", templates=[template], equivalence_band=0.5
    )


@pytest.mark.parametrize(
    ("base", "tuned", "share"),
    [(4, 0, 1.0), (4, 3, 0.25), (3, 4, 0.25), (0, 4, 1.0), (2, -2, 2.0), (0, 0, 0)],
)
def test_share_of_the_larger_effect(base: float, tuned: float, share: float) -> None:
    assert turned_share(base, tuned) == share


@pytest.mark.parametrize(
    ("base", "tuned", "why"),
    [(5.0, 0.5, None), (0.5, 5.0, None), (5.0, 3.5, "by 30% of its size: a shift"), (5.0, 4.8, "not shown")],
)
def test_what_is_no_switch(base: float, tuned: float, why: str | None) -> None:
    said = no_switch(World.generate(0, 32).suite(), result(base, tuned))
    assert said is None if why is None else said is not None and why in said


def test_a_set_is_not_reported_for_a_shift() -> None:
    recovered = Measured(0.9, 0.8, 1.0, 32)
    assert Held(recovered, (0.0, 0.1), carried=0.9, turned=0.8).why_not == []
    assert "a shift" in Held(recovered, (0.0, 0.1), carried=0.9, turned=0.3).why_not[0]
