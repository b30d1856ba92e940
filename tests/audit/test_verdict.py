"""The rule, row by row of its table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audit.evidence.invent import invented_document
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import (
    BehaviourBypass,
    BypassTrial,
    ConceptDirections,
    FlipsResult,
    ProbeCell,
    SuiteResult,
    TemplateResult,
)
from audit.verdict import BYPASS, DIRECTIONS, GATES, RELEARNING, Inside, decide


def estimate(value: float, half: float = 0.1) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=24)


def result(template: str = "plain", split: str = "test", **changes: Any) -> TemplateResult:
    fields = {
        "template": template, "split": split, "base": estimate(2.0), "tuned": estimate(2.0),
        "change": estimate(0.0), "lost_share": estimate(0.0), "p_value": 1.0, "equivalent": True,
        "base_above_null": True, "tuned_above_null": True,
        "flips": FlipsResult(items=10, to_showing=0, to_not_showing=0, p_value=1.0),
    }  # fmt: skip
    return TemplateResult(**{**fields, **changes})


def suite(*results: TemplateResult, **changes: Any) -> SuiteResult:
    fields = {
        "name": "s", "title": "S", "sha256": "0", "items": 10, "entities": 24, "unit": "nats",
        "equivalence_band": 0.3, "null_level": 0.0, "primary_template": "plain", "reliability": 0.9,
        "measurable": True, "near_duplicates": 0.0, "near_duplicates_masked": 0.0, "templates": list(results),
    }  # fmt: skip
    return SuiteResult(**{**fields, **changes})


LADDER = [DIRECTIONS, BYPASS, GATES, RELEARNING]
FELL = {"change": estimate(-1.8), "equivalent": False, "lost_share": estimate(0.9), "tuned_above_null": False}
ROSE = {"change": estimate(1.0), "equivalent": False}


def test_unchanged_needs_every_interval_inside_the_band() -> None:
    assert decide(suite(result(), result(split="all"))).verdict == "UNCHANGED"
    one_out = decide(suite(result(), result("chat", equivalent=False, change=estimate(0.25, 0.2))))
    assert one_out.verdict == "INCONCLUSIVE"
    assert "chat" in one_out.reasons[0]


@pytest.mark.parametrize("reliability", [None, 0.4])
def test_an_unreliable_suite_carries_no_verdict_however_equal(reliability: float | None) -> None:
    found = decide(suite(result(), reliability=reliability, measurable=False))
    assert found.verdict == "INCONCLUSIVE"
    assert "not measurable" in found.reasons[0]


def test_a_behaviour_that_fell_waits_for_evidence_from_inside() -> None:
    found = decide(suite(result(**FELL)))
    assert found.verdict == "INCONCLUSIVE"
    assert found.missing == LADDER
    assert "90%" in found.reasons[0]


def test_a_partial_fall_says_so() -> None:
    found = decide(suite(result(**{**FELL, "lost_share": estimate(0.4)})))
    assert found.verdict == "INCONCLUSIVE"
    assert "partial or uncertain" in found.reasons[0]
    undefined = decide(suite(result(**{**FELL, "lost_share": None})))
    assert "undefined" in undefined.reasons[0]


def test_a_behaviour_that_rose_is_induced() -> None:
    new = decide(suite(result(**ROSE, base_above_null=False)))
    assert new.verdict == "INDUCED"
    assert "did not show it" in new.reasons[0]
    more = decide(suite(result(**ROSE)))
    assert more.verdict == "INDUCED"
    assert "already showed it" in more.reasons[0]
    assert new.missing


def test_a_rise_that_stays_below_the_null_is_not_induced() -> None:
    found = decide(suite(result(**ROSE, base_above_null=False, tuned_above_null=False)))
    assert found.verdict == "INCONCLUSIVE"


def test_a_base_that_may_not_show_it_is_not_taken_for_one_that_does_not() -> None:
    found = decide(suite(result(**FELL, base_above_null=False)))
    assert found.verdict == "INCONCLUSIVE"
    assert "not shown to be above its null" in found.reasons[0]


def test_too_few_entities_are_said_to_be_too_few() -> None:
    unbounded = Estimate(value=6.0, low=None, high=None, n=3)
    change = Estimate(value=-6.0, low=None, high=None, n=3)
    found = decide(suite(result(base=unbounded, change=change, equivalent=False, base_above_null=False)))
    assert found.verdict == "INCONCLUSIVE"
    assert "too few held-out entities" in found.reasons[0]


def test_a_band_that_swallows_the_whole_effect_reassures_nobody() -> None:
    lost = {"base": estimate(0.2, 0.05), "change": estimate(-0.2, 0.05), "lost_share": estimate(1.0)}
    for above in (True, False):
        found = decide(suite(result(**lost, tuned_above_null=above)))
        assert found.verdict == "INCONCLUSIVE"
        assert "not small against this base's effect" in found.reasons[0]
    crept_in = decide(suite(result(lost_share=None, base_above_null=False)))
    assert crept_in.verdict == "INCONCLUSIVE"


def test_every_form_is_read() -> None:
    in_chat = decide(suite(result(base_above_null=False), result("chat", **ROSE)))
    assert in_chat.verdict == "INDUCED"
    assert "chat form" in in_chat.reasons[0]
    disagree = decide(suite(result(**FELL), result("chat", **ROSE)))
    assert disagree.verdict == "INCONCLUSIVE"
    assert "forms disagree" in disagree.reasons[0]
    elsewhere = decide(suite(result(), result("chat", **FELL)))
    assert elsewhere.verdict == "INCONCLUSIVE"
    assert "it fell in chat form" in elsewhere.reasons[0]


def test_a_fall_must_survive_the_correction_over_suites() -> None:
    found = decide(suite(result(**FELL, q_value=0.2)))
    assert found.missing != LADDER
    assert decide(suite(result(**FELL, q_value=0.01))).missing == LADDER


def test_an_unbounded_interval_decides_nothing() -> None:
    wide = Estimate(value=-1.0, low=None, high=None, n=2)
    found = decide(suite(result(change=wide, equivalent=False)))
    assert found.verdict == "INCONCLUSIVE"
    assert "[-inf, inf]" in found.reasons[0]


def inside(decodable: str = "yes", recovered: Estimate | None = None, **trial: Any) -> Inside:
    """Evidence from inside the models: a concept that was decodable in the base, and one way back."""
    rng = np.random.default_rng(0)
    directions = invented_document(
        ConceptDirections, rng, decodable=decodable, base_decodable="yes", unreadable=None,
        chosen=invented_document(ProbeCell, rng),
    )  # fmt: skip
    fields = {
        "recovered": recovered or estimate(0.9), "may_support": True, "why_not": [], "size": 4,
        "random_max": 0.05,
        **trial,
    }  # fmt: skip
    way = invented_document(BypassTrial, rng, **fields)
    return Inside(directions, invented_document(BehaviourBypass, rng, internal=way, latents=None, gates=None))


def test_masked_needs_the_knowledge_and_a_way_back() -> None:
    found = decide(suite(result(**FELL)), inside())
    assert found.verdict == "MASKED"
    assert found.missing == [RELEARNING]
    assert "localised" in found.reasons[-1]
    many = decide(suite(result(**FELL)), inside(size=200))
    assert many.verdict == "MASKED"
    assert "distributed" in many.reasons[-1]


def test_latents_taken_out_are_a_way_back_too() -> None:
    weak, strong = inside(recovered=estimate(0.35, 0.1)), inside()
    assert weak.bypass is not None
    assert strong.bypass is not None
    latents = weak.bypass.model_copy(update={"latents": strong.bypass.internal})
    found = decide(suite(result(**FELL)), Inside(weak.directions, latents))
    assert found.verdict == "MASKED"
    assert "below the floor" in found.reasons[-2]
    assert "localised" in found.reasons[-1]
    alone = latents.model_copy(update={"internal": None})
    assert decide(suite(result(**FELL)), Inside(weak.directions, alone)).verdict == "MASKED"


@pytest.mark.parametrize(
    ("evidence", "lacks"),
    [
        (Inside(), DIRECTIONS),
        (Inside(inside().directions), BYPASS),
        (Inside(None, inside().bypass), DIRECTIONS),
        (inside("between"), DIRECTIONS),
        (inside("no"), GATES),
        (inside(recovered=estimate(0.35, 0.1)), GATES),
        (inside(may_support=False, why_not=["it wrecks other skills"]), GATES),
    ],
)
def test_without_either_a_fallen_behaviour_stays_open(evidence: Inside, lacks: str) -> None:
    found = decide(suite(result(**FELL)), evidence)
    assert found.verdict == "INCONCLUSIVE"
    assert lacks in found.missing
    assert RELEARNING in found.missing


def test_gates_that_were_tried_are_not_missing() -> None:
    weak = inside(recovered=estimate(0.35, 0.1))
    assert weak.bypass is not None
    tried = weak.bypass.model_copy(update={"gates": weak.bypass.internal})
    found = decide(suite(result(**FELL)), Inside(weak.directions, tried))
    assert found.verdict == "INCONCLUSIVE"
    assert found.missing == [RELEARNING]


def test_what_was_not_decodable_in_the_base_is_not_called_lost() -> None:
    evidence = inside()
    assert evidence.directions is not None
    weak = evidence.directions.model_copy(update={"base_decodable": "between", "decodable": "no"})
    found = decide(suite(result(**FELL)), Inside(weak, evidence.bypass))
    assert found.verdict == "INCONCLUSIVE"
    assert any("not decodable enough in the base" in reason for reason in found.reasons)


def test_evidence_from_inside_never_overrules_behaviour() -> None:
    assert decide(suite(result()), inside()).verdict == "UNCHANGED"
    partial = decide(suite(result(**{**FELL, "lost_share": estimate(0.55)})), inside())
    assert partial.verdict == "INCONCLUSIVE"
