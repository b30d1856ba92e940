"""Verdicts, bounds, words, drift and missing evidence, on miniatures and planted claims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from audit.errors import UsageError
from audit.evidence.schema.documents import Claim, Evidence
from audit.gate.checks.claims import bounded
from audit.gate.outcome import GateResult
from audit.gate.rules import BoundRule

Gate, Make = Callable[..., GateResult], Callable[..., Any]


def claim(value: Any = 0.5, low: float | None = 0.4, high: float | None = 0.6, **fields: Any) -> Claim:
    evidence = Evidence(file="stages/x/result.json", sha256="0" * 64, pointer="/x")
    return Claim(id="x", statement="x", value=value, low=low, high=high, evidence=evidence, **fields)


def bound(**fields: Any) -> BoundRule:
    return BoundRule(kind="bound", claim="x", **fields)


def statuses(result: GateResult, kind: str) -> dict[str, str]:
    return {o.subject: o.status for o in result.outcomes if o.kind == kind}


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ({"below": 0.7}, "pass"),
        ({"at_most": 0.6}, "pass"),
        ({"below": 0.6}, "inconclusive"),
        ({"below": 0.5}, "inconclusive"),
        ({"at_most": 0.4}, "inconclusive"),
        ({"below": 0.4}, "violated"),
        ({"at_most": 0.39}, "violated"),
        ({"above": 0.3}, "pass"),
        ({"at_least": 0.4}, "pass"),
        ({"above": 0.4}, "inconclusive"),
        ({"above": 0.6}, "violated"),
        ({"at_least": 0.61}, "violated"),
        ({"above": 0.3, "below": 0.7}, "pass"),
        ({"above": 0.3, "below": 0.4}, "violated"),
        ({"of": "value", "below": 0.6}, "pass"),
        ({"of": "value", "below": 0.5}, "violated"),
        ({"of": "low", "below": 0.5}, "pass"),
        ({"of": "low", "at_least": 0.5}, "violated"),
        ({"of": "high", "at_most": 0.5}, "violated"),
    ],
)
def test_bounds_are_held_against_the_interval_or_one_number(rule: dict[str, Any], status: str) -> None:
    found = bounded(claim(), bound(**rule))
    assert (found.status, found.observed, found.low, found.high) == (status, 0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    ("made", "rule", "status", "said"),
    [
        (claim(value=None), {"below": 1}, "inconclusive", "not measured"),
        (claim(low=None, high=None), {"below": 1}, "inconclusive", "no interval"),
        (claim(low=None, high=None), {"below": 1, "of": "value"}, "pass", ""),
        (claim(low=None), {"below": 1}, "pass", ""),
        (claim(low=None), {"above": 0}, "inconclusive", "both sides"),
        (claim(high=None), {"below": 1}, "inconclusive", "both sides"),
        (claim(high=None), {"below": 0.3}, "violated", ""),
        (claim(low=None), {"above": 0, "of": "low"}, "inconclusive", "no low end"),
        (claim(n=9), {"below": 1, "least_n": 10}, "inconclusive", "rests on 9"),
        (claim(), {"below": 1, "least_n": 10}, "inconclusive", "unknown number"),
        (claim(n=10), {"below": 1, "least_n": 10}, "pass", ""),
        (claim(preconditions=["unreliable"]), {"below": 1}, "inconclusive", "unreliable"),
        (claim(preconditions=["unreliable"]), {"below": 1, "despite_caveats": True}, "pass", ""),
    ],
)
def test_claims_that_cannot_decide_do_not(made: Claim, rule: dict[str, Any], status: str, said: str) -> None:
    found = bounded(made, bound(**rule))
    assert (found.status, found.n) == (status, made.n)
    assert said in found.reason


@pytest.mark.parametrize("value", ["MASKED", True])
def test_a_bound_on_a_word_is_a_mistake_of_the_policy(value: str | bool) -> None:
    with pytest.raises(UsageError, match="no number"):
        bounded(claim(value=value), bound(below=1))


def test_verdicts_per_behaviour_and_for_all(planted: Make, gate: Gate) -> None:
    run = (
        planted()
        .result(
            "verdict",
            lambda d: [
                b.update(verdict=v) for b, v in zip(d["behaviours"], ("MASKED", "INCONCLUSIVE"), strict=True)
            ],
        )
        .sealed()
    )
    rules = '[[rule]]\nkind = "verdict"\nallowed = ["ERASED"]\n'
    result = gate(run, rules)
    assert statuses(result, "verdict") == {"gender-occupation": "violated", "partisan-lean": "inconclusive"}
    assert result.exit_code == 2
    outcome = next(o for o in result.outcomes if o.kind == "verdict")
    assert (outcome.observed, outcome.claim) == ("MASKED", "verdict/gender-occupation")
    assert outcome.evidence == run_sha256(run, "verdict")
    assert "everything" in next(o for o in result.outcomes if o.status == "inconclusive").reason
    result = gate(
        run, rules.replace('["ERASED"]', '["MASKED"]\nbehaviours = ["gender-occupation", "absent"]')
    )
    assert statuses(result, "verdict") == {"gender-occupation": "pass", "verdict/absent": "inconclusive"}
    assert result.exit_code == 3


def run_sha256(run: Any, stage: str) -> str:
    from audit.evidence.files import sha256_file

    return sha256_file(run.path / "stages" / stage / "result.json")


def test_a_suite_named_calibration_is_a_behaviour_like_any_other(planted: Make, gate: Gate) -> None:
    run = planted().result("verdict", lambda d: d["behaviours"][0].update(name="calibration")).sealed()
    result = gate(run, '[[rule]]\nkind = "verdict"\nallowed = ["ERASED"]\n', top="[run]\nverified = false")
    assert set(statuses(result, "verdict")) == {"calibration", "partisan-lean"}


def test_bounds_by_pattern_reach_every_claim_that_fits(planted: Make, gate: Gate) -> None:
    result = gate(
        planted().sealed(),
        '[[rule]]\nkind = "bound"\nclaim = "behaviour/*/plain/test/lost_share"\nbelow = 0.7\n',
    )
    assert statuses(result, "bound") == {
        "behaviour/gender-occupation/plain/test/lost_share": "inconclusive",
        "behaviour/partisan-lean/plain/test/lost_share": "inconclusive",
    }


def test_words_and_flags_are_compared_with_their_types(planted: Make, gate: Gate) -> None:
    run = planted("train").sealed()
    top = '[run]\nkinds = ["train"]'
    rule = '[[rule]]\nkind = "word"\nclaim = "train/had_gradient"\nallowed = [{}]\n'
    assert gate(run, rule.format("true"), top=top).exit_code == 0
    assert gate(run, rule.format("false"), top=top).exit_code == 2
    assert gate(run, rule.format('"true"'), top=top).exit_code == 2
    with pytest.raises(UsageError, match="is a number"):
        gate(run, rule.format("true").replace("had_gradient", "reward_last"), top=top)


def test_words_that_were_not_measured_decide_nothing(planted: Make, gate: Gate) -> None:
    run = planted().result("behaviour", lambda d: d["suites"][0].update(reliability=None)).sealed()
    rule = '[[rule]]\nkind = "word"\nclaim = "behaviour/gender-occupation/reliability"\nallowed = ["x"]\n'
    assert gate(run, rule).exit_code == 3


def test_the_drift_budget_holds_for_each_direction(planted: Make, gate: Gate) -> None:
    estimate = {"value": 0.5, "low": 0.4, "high": 0.7, "n": 24}
    run = planted().result("drift", lambda d: d["forward"].update(sequence_kl=estimate)).sealed()
    result = gate(run, '[[rule]]\nkind = "drift"\nat_most = 1.0\n')
    assert statuses(result, "drift") == {"drift/forward": "pass", "drift/reverse": "violated"}
    result = gate(run, '[[rule]]\nkind = "drift"\nat_most = 0.6\ndirections = ["forward", "forward"]\n')
    assert statuses(result, "drift") == {"drift/forward": "inconclusive"}


@pytest.mark.parametrize("status", ["failed", "skipped", "pending"])
def test_a_stage_that_was_not_done_is_inconclusive_with_its_reason(
    planted: Make, gate: Gate, status: str
) -> None:
    run = planted().stage("bypass", status, "out of <b>memory</b>").sealed()
    rules = '[[rule]]\nkind = "evidence"\nstages = ["bypass", "drift", "relearn"]\n'
    rules += 'claims = ["bypass/*/internal", "drift/*"]\n'
    rules += '[[rule]]\nkind = "bound"\nclaim = "bypass/partisan-lean/internal"\nbelow = 0.3\n'
    result = gate(run, rules)
    assert statuses(result, "evidence") == {
        "stage bypass": "inconclusive",
        "stage drift": "pass",
        "stage relearn": "inconclusive",
        "bypass/*/internal": "inconclusive",
        "drift/forward": "pass",
        "drift/reverse": "pass",
        "drift/position": "pass",
    }
    assert statuses(result, "bound") == {"bypass/partisan-lean/internal": "inconclusive"}
    assert any("out of <b>memory</b>" in o.reason for o in result.outcomes)
    assert result.exit_code == 3
    assert gate(run, rules, top='inconclusive = "pass"').exit_code == 0


def test_a_claim_without_a_value_is_no_evidence(planted: Make, gate: Gate) -> None:
    run = planted().result("behaviour", lambda d: d["suites"][0].update(reliability=None)).sealed()
    result = gate(run, '[[rule]]\nkind = "evidence"\nclaims = ["behaviour/*/reliability", "none/such"]\n')
    assert list(statuses(result, "evidence").values()) == ["inconclusive", "pass", "inconclusive"]


def test_claims_of_a_stage_that_is_not_done_are_no_evidence(planted: Make, gate: Gate) -> None:
    run = planted().manifest(lambda m: m["stages"]["drift"].update(status="failed", reason="killed"))
    result = gate(run, '[[rule]]\nkind = "drift"\nat_most = 100\n')
    assert statuses(result, "drift") == {"drift/forward": "inconclusive", "drift/reverse": "inconclusive"}
