"""What a behaviour did, seen from the outside: every row of the rule that behaviour alone decides."""

from __future__ import annotations

from typing import Any

import pytest

from audit.calibration import load_thresholds
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import (
    BehaviourResult,
    BehaviourVerdict,
    FlipsResult,
    SuiteResult,
    TemplateResult,
)
from audit.verdict import Results, decide, evidence_of
from audit.verdict.rungs import ASKING, BYPASS, DIRECTIONS, GATES, RELEARNING


def verdict(found: SuiteResult) -> BehaviourVerdict:
    """Of a run that looked at behaviour alone."""
    (evidence,) = evidence_of(Results(BehaviourResult(suites=[found], warnings=[])))
    return decide(evidence, load_thresholds())


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


LADDER = [DIRECTIONS, BYPASS, GATES, RELEARNING, ASKING]
FELL = {"change": estimate(-1.8), "equivalent": False, "lost_share": estimate(0.9), "tuned_above_null": False}
ROSE = {"change": estimate(1.0), "equivalent": False}


def test_unchanged_needs_every_interval_inside_the_band() -> None:
    assert verdict(suite(result(), result(split="all"))).verdict == "UNCHANGED"
    one_out = verdict(suite(result(), result("chat", equivalent=False, change=estimate(0.25, 0.2))))
    assert one_out.verdict == "INCONCLUSIVE"
    assert "chat" in one_out.reasons[0]


@pytest.mark.parametrize("reliability", [None, 0.4])
def test_an_unreliable_suite_carries_no_verdict_however_equal(reliability: float | None) -> None:
    found = verdict(suite(result(), reliability=reliability, measurable=False))
    assert found.verdict == "INCONCLUSIVE"
    assert "not measurable" in found.reasons[0]


def test_a_behaviour_that_fell_waits_for_evidence_from_inside() -> None:
    found = verdict(suite(result(**FELL)))
    assert found.verdict == "INCONCLUSIVE"
    assert found.missing == LADDER
    assert "90%" in found.reasons[0]


def test_a_partial_fall_says_so() -> None:
    found = verdict(suite(result(**{**FELL, "lost_share": estimate(0.4)})))
    assert found.verdict == "INCONCLUSIVE"
    assert "partial or uncertain" in found.reasons[0]
    undefined = verdict(suite(result(**{**FELL, "lost_share": None})))
    assert "undefined" in undefined.reasons[0]


def test_a_behaviour_that_rose_is_induced() -> None:
    new = verdict(suite(result(**ROSE, base_above_null=False)))
    assert new.verdict == "INDUCED"
    assert "did not show it" in new.reasons[0]
    more = verdict(suite(result(**ROSE)))
    assert more.verdict == "INDUCED"
    assert "already showed it" in more.reasons[0]
    assert new.missing


def test_a_rise_that_stays_below_the_null_is_not_induced() -> None:
    found = verdict(suite(result(**ROSE, base_above_null=False, tuned_above_null=False)))
    assert found.verdict == "INCONCLUSIVE"


def test_a_base_that_may_not_show_it_is_not_taken_for_one_that_does_not() -> None:
    found = verdict(suite(result(**FELL, base_above_null=False)))
    assert found.verdict == "INCONCLUSIVE"
    assert "not shown to be above its null" in found.reasons[0]


def test_too_few_entities_are_said_to_be_too_few() -> None:
    unbounded = Estimate(value=6.0, low=None, high=None, n=3)
    change = Estimate(value=-6.0, low=None, high=None, n=3)
    found = verdict(suite(result(base=unbounded, change=change, equivalent=False, base_above_null=False)))
    assert found.verdict == "INCONCLUSIVE"
    assert "too few held-out entities" in found.reasons[0]


def test_a_band_that_swallows_the_whole_effect_reassures_nobody() -> None:
    lost = {"base": estimate(0.2, 0.05), "change": estimate(-0.2, 0.05), "lost_share": estimate(1.0)}
    for above in (True, False):
        found = verdict(suite(result(**lost, tuned_above_null=above)))
        assert found.verdict == "INCONCLUSIVE"
        assert "not small against this base's effect" in found.reasons[0]
    crept_in = verdict(suite(result(lost_share=None, base_above_null=False)))
    assert crept_in.verdict == "INCONCLUSIVE"


def test_every_form_is_read() -> None:
    in_chat = verdict(suite(result(base_above_null=False), result("chat", **ROSE)))
    assert in_chat.verdict == "INDUCED"
    assert "chat form" in in_chat.reasons[0]
    disagree = verdict(suite(result(**FELL), result("chat", **ROSE)))
    assert disagree.verdict == "INCONCLUSIVE"
    assert "forms disagree" in disagree.reasons[0]
    elsewhere = verdict(suite(result(), result("chat", **FELL)))
    assert elsewhere.verdict == "INCONCLUSIVE"
    assert "it fell in chat form" in elsewhere.reasons[0]


def test_a_fall_must_survive_the_correction_over_suites() -> None:
    found = verdict(suite(result(**FELL, q_value=0.2)))
    assert found.missing != LADDER
    assert verdict(suite(result(**FELL, q_value=0.01))).missing == LADDER


def test_an_unbounded_interval_decides_nothing() -> None:
    wide = Estimate(value=-1.0, low=None, high=None, n=2)
    found = verdict(suite(result(change=wide, equivalent=False)))
    assert found.verdict == "INCONCLUSIVE"
    assert "[-inf, inf]" in found.reasons[0]
