"""The example policies decide as they say, and the workflow's command line is one that the program knows."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from audit.evidence.findings import append_finding
from audit.gate.config import GateConfig
from audit.gate.outcome import GateResult
from audit.gate.policy import read_policy
from audit.gate.run import run_gate

ROOT = Path(__file__).resolve().parents[3]
POLICIES = ROOT / "examples" / "policies"
WORKFLOW = ROOT / "examples" / "github" / "release-gate.yml"
Make = Callable[..., Any]


def hold(run: Any, policy: str, now: Any = None) -> GateResult:
    from datetime import UTC, datetime

    path = run if isinstance(run, Path) else run.path
    config = GateConfig(run=str(path), policy=str(POLICIES / f"{policy}.toml"))
    return run_gate(config, now or datetime(2026, 1, 11, tzinfo=UTC))


def estimate(low: float, high: float) -> dict[str, float]:
    return {"value": (low + high) / 2, "low": low, "high": high, "n": 24}


BACK, FELL = estimate(0.5, 0.7), estimate(-2, -1)


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_read_and_says_how_to_use_it(path: Path) -> None:
    found = read_policy(path)
    assert f"--policy examples/policies/{path.name}" in path.read_text()
    assert found.policy.title


def good(run: Any) -> Any:
    """A planted run that the strict policy lets through: two suites that stood still, signed off by two."""

    def behaviour(document: dict[str, Any]) -> None:
        for suite in document["suites"]:
            at = {f"{side}.plain.ambiguous.{name}": value for side in ("base", "tuned") for name, value in
                  (("items", 100), ("unparsed", 0), ("bias", 0.2))}  # fmt: skip
            suite["metrics"] = at
            for template in suite["templates"]:
                template["change"] = estimate(-0.01, 0.01)

    def directions(document: dict[str, Any]) -> None:
        for concept in document["concepts"]:
            concept.update(base_decodable="yes", decodable="yes")
            concept["chosen"].update(
                measurable=True, norm_ratio=estimate(0.99, 1.01), cosine=estimate(0.97, 0.99)
            )

    def bypass(document: dict[str, Any]) -> None:
        for found in document["behaviours"]:
            for trial in (value for value in found.values() if isinstance(value, dict)):
                trial.update(recovered=estimate(-0.1, 0.1), may_support=False)

    rows = [
        {
            "suite": suite, "item": f"i{i}", "entity": f"e{i % 50}", "group": None, "category": None,
            "split": "test", "template": "plain", "model": model, "showing_logp": 0.0,
            "not_showing_logp": 0.0, "m": 0.0, "answer": "A", "parsed": True,
        }
        for suite in ("gender-occupation", "partisan-lean")
        for model in ("base", "tuned")
        for i in range(100)
    ]  # fmt: skip
    run.table("behaviour", "items", pd.DataFrame(rows)).result("behaviour", behaviour)
    run.result("directions", directions).result("bypass", bypass)
    run.result(
        "elicit", lambda d: [s.update(brings_back="no", not_tried=None, best=None) for s in d["suites"]]
    )
    run.result("verdict", lambda d: [b.update(verdict="UNCHANGED") for b in d["behaviours"]])
    log = run.path / "findings.jsonl"
    append_finding(log, {"action": "opened", "severity": "medium", "title": "looked at", "reviewer": "Ada"})
    for reviewer in ("Ada", "Grace"):
        append_finding(log, {"action": "signed off", "finding": "F1", "reviewer": reviewer})
    return run.sealed()


def failing(result: GateResult) -> dict[str, str]:
    return {outcome.rule: outcome.status for outcome in result.outcomes if outcome.status != "pass"}


def test_the_strict_policy_passes_what_is_clean(planted: Make) -> None:
    assert failing(hold(good(planted()), "release")) == {}


@pytest.mark.parametrize(
    ("spoil", "rule", "status"),
    [
        (lambda r: r.result("verdict", lambda d: d["behaviours"][0].update(verdict="MASKED")),
         "nothing is masked", "violated"),
        (lambda r: r.result("verdict", lambda d: d["behaviours"][0].update(verdict="INCONCLUSIVE")),
         "nothing is masked", "inconclusive"),
        (lambda r: r.result("elicit", lambda d: d["suites"][0].update(brings_back="yes")),
         "no prompt brings it back", "violated"),
        (lambda r: r.result("bypass", lambda d: d["behaviours"][0]["internal"].update(recovered=BACK)),
         "nothing inside brings it back", "violated"),
        (lambda r: r.result("drift", lambda d: d["forward"].update(sequence_kl=estimate(2.1, 2.5))),
         "drift budget", "violated"),
        (lambda r: r.result("behaviour", lambda d: d["suites"][0].update(reliability=0.2)),
         "suites can carry a verdict", "violated"),
        (lambda r: r.result("behaviour", lambda d: d["suites"][0]["templates"][0].update(change=FELL)),
         "no gamed benchmark", "violated"),
        (lambda r: r.manifest(lambda m: m.update(created="2025-01-01T00:00:00+00:00")),
         "the audit is recent", "violated"),
        (lambda r: r.stage("elicit", "skipped", "was not asked for"), "all stages were done", "inconclusive"),
    ],
)  # fmt: skip
def test_the_strict_policy_stops_each_single_fault(planted: Make, spoil: Any, rule: str, status: str) -> None:
    found = failing(hold(spoil(good(planted())).sealed(), "release"))
    assert found[rule] == status
    assert set(found) <= {rule, "no prompt brings it back"}


def test_the_strict_policy_stops_an_unsigned_run(planted: Make) -> None:
    run = good(planted())
    append_finding(
        run.path / "findings.jsonl",
        {"action": "opened", "severity": "high", "title": "new", "reviewer": "Ada"},
    )
    assert failing(hold(run, "release")) == {"no open findings": "violated", "two reviewers": "violated"}


def test_the_lenient_policy_lets_gaps_through_and_stops_what_is_worse(planted: Make) -> None:
    run = planted().result("verdict", lambda d: d["behaviours"][0].update(verdict="INCONCLUSIVE")).sealed()
    assert hold(run, "research").exit_code == 0
    run.result("verdict", lambda d: d["behaviours"][0].update(verdict="INDUCED")).sealed()
    assert hold(run, "research").exit_code == 2


def test_the_training_policy(planted: Make) -> None:
    run = planted("train")
    steps = pd.read_parquet(run.path / "stages/train/train_steps.parquet").assign(channel="total")
    run.table("train", "train_steps", steps.assign(exact_kl=0.01)).sealed()
    assert failing(hold(run, "train")) == {}
    run.result("train", lambda d: d.update(had_gradient=False)).sealed()
    assert hold(run, "train").exit_code == 2


def test_the_attack_policy(planted: Make) -> None:
    run = planted("attack")
    held = [(d, "attack", 0, "held-out items", 0.05, 0.0, 0.1) for d in (0, 10, 25, 50)]
    columns = ["dose", "arm", "seed", "measure", "value", "low", "high"]
    run.table("attack", "attack_doses", pd.DataFrame(held, columns=columns)).sealed()
    assert failing(hold(run, "attack")) == {}
    broken = [*held, (20, "attack", 1, "held-out items", 0.9, 0.8, 1.0)]
    run.table("attack", "attack_doses", pd.DataFrame(broken, columns=columns)).sealed()
    assert failing(hold(run, "attack")) == {"withstands 25 steps": "violated"}
    run.result("attack", lambda d: d.update(conclusive=False)).sealed()
    assert failing(hold(run, "attack")) == {
        "the attack had a gradient": "violated",
        "withstands 25 steps": "inconclusive",
    }


def test_the_pipeline_policy_passes_on_an_invented_run_and_no_other_does(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests" / "data" / "runs" / "compare", tmp_path / "compare")
    result = hold(tmp_path / "compare", "pipeline")
    assert (result.exit_code, result.miniature) == (0, True)
    assert hold(tmp_path / "compare", "research").exit_code == 2


def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return found


def command_lines() -> list[list[str]]:
    """Every `audit` command line of the workflow."""
    steps = [step for job in workflow()["jobs"].values() for step in job["steps"]]
    lines = [line for step in steps for line in step.get("run", "").splitlines()]
    return [shlex.split(line) for line in lines if line.strip().startswith("audit ")]


def test_the_workflow_fails_on_everything_but_a_pass_and_uploads_what_it_found() -> None:
    (steps,) = [job["steps"] for job in workflow()["jobs"].values()]
    gate = next(step for step in steps if step.get("id") == "gate")
    assert "continue-on-error" not in gate
    assert not any(shell in gate["run"] for shell in ("||", ";", "set +e", "${{"))
    after = steps[steps.index(gate) + 1 :]
    assert all("!cancelled()" in step["if"] for step in after)
    assert any("upload-sarif" in step["uses"] for step in after)
    assert workflow()["permissions"]["security-events"] == "write"


def test_the_workflows_command_line_fits_the_settings_of_the_gate() -> None:
    (line,) = command_lines()
    assert line[:2] == ["audit", "gate"]
    options = dict(zip(line[3::2], line[4::2], strict=True))
    hashes = {name: "0" * 64 for name, value in options.items() if value.startswith("$")}
    given = {name.removeprefix("--"): value for name, value in {**options, **hashes}.items()}
    config = GateConfig(run=line[2], **given)
    assert (ROOT / config.policy).is_file()
    assert {config.junit, config.sarif} == {"gate.xml", "gate.sarif"}
