"""What the gate writes: text at 80 columns, JSON, JUnit XML and SARIF, with hostile names in them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from junitparser import Error, Failure, JUnitXml, Skipped
from rich.console import Console

from audit.gate.outcome import GateResult
from audit.gate.sarif import as_sarif
from audit.gate.text import print_gate
from audit.gate.words import clean, interval, number

Gate, Make = Callable[..., GateResult], Callable[..., Any]
RULES = """
[[rule]]
kind = "drift"
name = "budget"
at_most = 0.5
why = "agreed with the board"

[[rule]]
kind = "evidence"
stages = ["relearn", "drift"]
"""
EVIL = "<script>alert(1)</script>]]>&\x00\x1b[31m\u202e" + "x" * 5_000

RULE_ID = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
DRIVER = {
    "type": "object",
    "required": ["name", "version", "rules"],
    "properties": {"rules": {"type": "array", "uniqueItems": True, "items": RULE_ID}},
}
RESULT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["ruleId", "ruleIndex", "message", "locations", "level", "kind"],
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "kind": {"enum": ["pass", "open", "fail"]},
        "level": {"enum": ["none", "error"]},
        "message": {"required": ["text"], "properties": {"text": {"minLength": 1}}},
        "locations": {"type": "array", "minItems": 1},
        "partialFingerprints": {"additionalProperties": {"type": "string"}},
        "properties": {"type": "object"},
    },
    "if": {"properties": {"kind": {"enum": ["pass", "open"]}}},
    "then": {"properties": {"level": {"const": "none"}}},
}
RUN = {
    "type": "object",
    "additionalProperties": False,
    "required": ["tool", "results"],
    "properties": {
        "tool": {"type": "object", "required": ["driver"], "properties": {"driver": DRIVER}},
        "invocations": {"type": "array", "items": {"required": ["executionSuccessful"]}},
        "results": {"type": "array", "items": RESULT},
        "properties": {"type": "object"},
    },
}
SARIF = {
    "type": "object",
    "additionalProperties": False,
    "required": ["$schema", "version", "runs"],
    "properties": {
        "$schema": {"type": "string"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "minItems": 1, "items": RUN},
    },
}
"""What the standard (section 3) and code scanning ask of the parts that the gate writes."""


def text_of(result: GateResult) -> str:
    out = io.StringIO()
    print_gate(result, Console(file=out, width=80, highlight=False, markup=False))
    return out.getvalue()


def hostile(planted: Make) -> Any:
    def rename(manifest: dict[str, Any]) -> None:
        manifest["tuned"]["reference"] = EVIL
        manifest["stages"]["weights"] = {"status": "failed", "reason": EVIL}
        manifest["stages"][EVIL] = {"status": "done", "done": EVIL}

    run = planted()
    run.result("verdict", lambda d: d["behaviours"][0].update(name=EVIL, reasons=[EVIL])).sealed()
    return run.manifest(rename)


def test_text_says_all_there_is_to_know(planted: Make, gate: Gate) -> None:
    result = gate(planted().sealed(), RULES)
    text = text_of(result)
    assert result.policy_sha256 in text
    assert result.manifest_sha256 in text
    shown = [
        "VIOLATED   drift/forward:",
        "1.2 [1.1, 1.3], n = 24; wanted: interval <= 0.5",
        "agreed with the board",
        "undecided  stage relearn",
        "4 pass, 2 violated, 1 inconclusive; exit code 2",
        "budget",
        "not that the model is safe",
    ]
    assert [said for said in shown if said not in text] == []
    assert "MINIATURE" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_miniature_and_what_is_let_through_are_said_aloud(planted: Make, gate: Gate) -> None:
    run = planted().manifest(lambda m: m.update(miniature=True))
    rules = '[[rule]]\nkind = "evidence"\nstages = ["relearn", "drift"]\n'
    result = gate(run, rules, top='inconclusive = "pass"\n[run]\nminiature = true')
    text = text_of(result)
    assert "MINIATURE: every number in it is invented" in text
    assert "lets through what could not be decided" in text
    assert result.exit_code == 0
    assert "MINIATURE" in text_of(gate(run, rules))


def test_json_holds_every_outcome_with_its_evidence(planted: Make, gate: Gate) -> None:
    result = gate(planted().sealed(), RULES)
    found = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert (found["status"], found["exit_code"]) == ("violated", 2)
    assert found["counts"] == {"pass": 4, "violated": 2, "inconclusive": 1}
    (drift,) = [o for o in found["outcomes"] if o["subject"] == "drift/forward"]
    assert drift == {
        "subject": "drift/forward", "status": "violated", "observed": 1.2,
        "low": pytest.approx(1.1), "high": pytest.approx(1.3),
        "threshold": "interval <= 0.5", "n": 24, "claim": "drift/forward", "reason": "agreed with the board",
        "matched": True, "rule": "budget", "kind": "drift", "line": 5,
        "evidence": drift["evidence"],
    }  # fmt: skip
    assert len(drift["evidence"]) == 64


def test_junit_has_a_case_per_outcome(planted: Make, gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "out" / "gate.xml"
    result = gate(planted().sealed(), RULES, junit=str(path))
    found = JUnitXml.fromfile(str(path))
    assert (found.tests, found.failures, found.errors, found.skipped) == (7, 2, 1, 0)
    (suite,) = found
    cases = {case.name: case.result for case in suite}
    assert isinstance(cases["drift/forward"][0], Failure)
    assert isinstance(cases["stage relearn"][0], Error)
    assert cases["stage drift"] == []
    assert {p.name: p.value for p in suite.properties()}["policy_sha256"] == result.policy_sha256
    gate(planted(name="other").sealed(), RULES, top='inconclusive = "pass"', junit=str(path))
    (suite,) = JUnitXml.fromfile(str(path))
    assert [type(r) for case in suite for r in case.result] == [Failure, Failure, Skipped]


def test_sarif_stands_at_the_rules_of_the_policy(planted: Make, gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "gate.sarif"
    result = gate(planted().sealed(), RULES, sarif=str(path))
    found = json.loads(path.read_text())
    jsonschema.validate(found, SARIF)
    (run,) = found["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for one, outcome in zip(run["results"], result.outcomes, strict=True):
        assert rules[one["ruleIndex"]] == one["ruleId"]
        place = one["locations"][0]["physicalLocation"]
        assert place["region"]["startLine"] == outcome.line
        assert place["artifactLocation"]["uri"] == str(tmp_path / "policy.toml").lstrip("/")
    kinds = [(one["kind"], one["level"]) for one in run["results"]]
    assert kinds == 3 * [("pass", "none")] + 3 * [("fail", "error")] + [("pass", "none")]
    lines = (tmp_path / "policy.toml").read_text().splitlines()
    assert {lines[o.line - 1] for o in result.outcomes if o.kind != "run"} == {"[[rule]]"}
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 2}]


def test_sarif_of_what_is_let_through_is_open_and_fingerprints_stay(planted: Make, gate: Gate) -> None:
    run = planted().sealed()
    first, again = (
        as_sarif(gate(run, RULES)),
        as_sarif(gate(run, "\n\n" + RULES, top='inconclusive = "pass"')),
    )
    results = again["runs"][0]["results"]
    assert ("open", "none") in [(one["kind"], one["level"]) for one in results]
    prints = [[one["partialFingerprints"] for one in log["runs"][0]["results"]] for log in (first, again)]
    assert prints[0] == prints[1]


def test_brackets_in_a_message_are_no_links(planted: Make, gate: Gate) -> None:
    found = as_sarif(gate(planted().sealed(), RULES))["runs"][0]["results"]
    texts = [one["message"]["text"] for one in found]
    assert any(r"1.2 \[1.1, 1.3\]" in text for text in texts)


def test_hostile_names_stay_text_everywhere(planted: Make, gate: Gate, tmp_path: Path) -> None:
    rules = '[[rule]]\nkind = "verdict"\nallowed = ["ERASED"]\n'
    rules += '[[rule]]\nkind = "evidence"\nstages = ["weights"]\n'
    junit, sarif = tmp_path / "gate.xml", tmp_path / "gate.sarif"
    result = gate(hostile(planted), rules, junit=str(junit), sarif=str(sarif))
    assert result.exit_code == 2
    text = text_of(result)
    for steering in ("\x00", "\x1b", "\u202e"):
        assert steering not in text
        assert steering not in junit.read_text() + sarif.read_text()
    assert "<U+001B>" in text
    assert "x" * 1_000 not in text.replace("\n", "").replace(" ", "")
    assert any("<script>" in case.name for case in next(iter(JUnitXml.fromfile(str(junit)))))
    assert "<script>" not in junit.read_text()
    jsonschema.validate(json.loads(sarif.read_text()), SARIF)
    json.dumps(result.as_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("漢字 é", "漢字 é"),
        ("a\nb\tc", "a<U+000A>b<U+0009>c"),
        ("\u202eevil", "<U+202E>evil"),
        ("\ud800", "<U+D800>"),
        ("\uffff", "<U+FFFF>"),
        ("y" * 500, "y" * 400 + "... (500 characters)"),
    ],
)
def test_clean_text(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_numbers_and_intervals_as_people_read_them() -> None:
    assert [number(value) for value in (None, True, 0.123456, 3.0, "a")] == [
        "nothing",
        "true",
        "0.1235",
        "3",
        "a",
    ]
    assert [interval(*ends) for ends in ((None, None), (None, 1.0), (0.5, None))] == [
        "",
        " [-inf, 1]",
        " [0.5, inf]",
    ]
