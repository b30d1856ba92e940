"""What is asked of every run: kind, real numbers, verification, age, weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from audit.evidence.files import sha256_file
from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Manifest
from audit.evidence.verify import verify_run
from audit.gate.checks.run import unfinished
from audit.gate.outcome import GateResult, Outcome

Gate, Make = Callable[..., GateResult], Callable[..., Any]
EVIDENCE = '[[rule]]\nkind = "evidence"\nstages = ["preflight"]\n'
HEX = "0123456789abcdef" * 4


def of(result: GateResult, subject: str) -> Outcome:
    (found,) = [o for o in result.outcomes if o.subject == subject]
    return found


def test_a_measured_run_of_the_right_kind_that_verifies_passes(planted: Make, gate: Gate) -> None:
    result = gate(planted().sealed(), EVIDENCE)
    assert (result.exit_code, result.status, [o.status for o in result.outcomes]) == (0, "pass", ["pass"] * 4)


def test_a_run_of_another_kind_violates(planted: Make, gate: Gate) -> None:
    result = gate(planted("train").sealed(), EVIDENCE.replace("preflight", "train"))
    assert of(result, "kind of run").status == "violated"
    assert result.exit_code == 2


def test_invented_numbers_are_no_evidence_unless_the_policy_allows_them(planted: Make, gate: Gate) -> None:
    run = planted().manifest(lambda m: m.update(miniature=True))
    result = gate(run, EVIDENCE, top='inconclusive = "pass"')
    assert (of(result, "real numbers").status, result.exit_code, result.miniature) == ("violated", 2, True)
    assert gate(run, EVIDENCE, top="[run]\nminiature = true").exit_code == 0


def lie_in_claims(run: Any) -> None:
    path = run.path / "claims.json"
    found = json.loads(path.read_text())
    claim = next(c for c in found["claims"] if c["id"] == "drift/forward")
    claim.update(value=0.01, low=0.0, high=0.02)
    path.write_text(json.dumps(found))


def lie_in_claims_and_hash(run: Any) -> None:
    lie_in_claims(run)
    run.manifest(lambda m: m.update(claims=sha256_file(run.path / "claims.json")))


def lie_in_the_evidence(run: Any) -> None:
    path = run.path / "stages" / "drift" / "result.json"
    path.write_text(path.read_text().replace("1.2", "0.1"))


def evidence_elsewhere(run: Any) -> None:
    path = run.path / "claims.json"
    found = json.loads(path.read_text())
    for claim in found["claims"]:
        claim["evidence"]["file"] = "../../../../../etc/passwd"
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    "lie", [lie_in_claims, lie_in_claims_and_hash, lie_in_the_evidence, evidence_elsewhere]
)
def test_a_lying_run_violates_even_where_gaps_pass(
    planted: Make, gate: Gate, lie: Callable[[Any], None]
) -> None:
    run = planted().sealed()
    rule = '[[rule]]\nkind = "drift"\nat_most = 5.0\n'
    assert gate(run, rule).exit_code == 0
    lie(run)
    result = gate(run, rule, top='inconclusive = "pass"')
    found = of(result, "hashes and claims")
    assert (found.status, result.exit_code) == ("violated", 2)
    assert found.reason
    assert "root:" not in str(result.as_json())


def test_a_consistent_run_with_another_number_verifies_and_its_manifest_does_not_match(
    planted: Make, gate: Gate
) -> None:
    run = planted().sealed()
    noted = sha256_file(run.path / "manifest.json")
    assert gate(run, EVIDENCE, manifest=noted).exit_code == 0
    run.result("drift", lambda d: d["forward"].update(per_token=9.9)).sealed()
    result = gate(run, EVIDENCE, manifest=noted)
    assert (of(result, "hashes and claims").status, of(result, "manifest.json").status) == (
        "pass",
        "violated",
    )
    assert result.exit_code == 2


def test_unfinished_work_is_inconclusive_and_nothing_else_hides_behind_it(planted: Make, gate: Gate) -> None:
    run = planted().stage("weights", "failed", "no space")
    run.manifest(lambda m: m.update(claims=None))
    result = gate(run, EVIDENCE)
    assert (of(result, "hashes and claims").status, result.exit_code) == ("inconclusive", 3)
    assert "no space" in of(result, "hashes and claims").reason
    lie_in_the_evidence(run)
    assert of(gate(run, EVIDENCE), "hashes and claims").status == "violated"


def test_the_words_of_verification_for_unfinished_work_are_known(planted: Make) -> None:
    run = planted().stage("weights", "failed").manifest(lambda m: m.update(claims=None))
    folder = RunFolder(run.path)
    assert set(verify_run(folder).problems) <= unfinished(folder.manifest())


def test_many_problems_are_counted_and_the_first_quoted(planted: Make, gate: Gate) -> None:
    run = planted().sealed()
    for path in run.path.glob("stages/*/result.json"):
        path.write_text(path.read_text() + " ")
    found = of(gate(run, EVIDENCE), "hashes and claims")
    assert "more" in found.reason
    assert len(found.reason) < 500


def test_an_unverified_run_may_serve_where_the_policy_says_so(planted: Make, gate: Gate) -> None:
    run = planted().sealed()
    lie_in_the_evidence(run)
    result = gate(run, EVIDENCE, top="[run]\nverified = false")
    found = of(result, "hashes and claims")
    assert (result.exit_code, found.status, found.threshold) == (0, "pass", "anything: not asked for")
    assert "drift" in found.reason


@pytest.mark.parametrize(
    ("created", "status", "observed"),
    [
        ("2026-01-01T00:00:00+00:00", "pass", "10.0 days"),
        ("2025-12-01T00:00:00+00:00", "violated", "41.0 days"),
        ("2026-01-11T00:30:00+00:00", "pass", "0.0 days"),
        ("2026-02-01T00:00:00+00:00", "inconclusive", "2026-02-01T00:00:00+00:00"),
        ("2026-01-01T00:00:00", "inconclusive", "2026-01-01T00:00:00"),
        ("yesterday", "inconclusive", "yesterday"),
    ],
)
def test_age(planted: Make, gate: Gate, created: str, status: str, observed: str) -> None:
    run = planted().manifest(lambda m: m.update(created=created))
    result = gate(run, '[[rule]]\nkind = "age"\nat_most_days = 30\n')
    found = of(result, "age of the run")
    assert (found.status, found.observed) == (status, observed)


def test_age_counts_to_now_by_the_clock(planted: Make, gate: Gate) -> None:
    now = datetime.now(UTC).isoformat()
    run = planted().manifest(lambda m: m.update(created=now))
    assert gate(run, '[[rule]]\nkind = "age"\nat_most_days = 1\n', now=None).exit_code == 0


@pytest.mark.parametrize(
    ("rule", "subject", "status"),
    [
        (f'identity = "{HEX}"', "tuned: identity", "pass"),
        (f'identity = "{"0" * 64}"', "tuned: identity", "violated"),
        (f'file = "model.safetensors"\nsha256 = "{HEX}"\nmodel = "base"', "base: model.safetensors", "pass"),
        (f'file = "model.safetensors"\nsha256 = "{"0" * 64}"', "tuned: model.safetensors", "violated"),
        (f'file = "../../etc/passwd"\nsha256 = "{HEX}"', "tuned: ../../etc/passwd", "inconclusive"),
    ],
)
def test_weights(planted: Make, gate: Gate, rule: str, subject: str, status: str) -> None:
    result = gate(planted(), f'[[rule]]\nkind = "weights"\n{rule}\n')
    assert of(result, subject).status == status


def test_a_run_without_a_tuned_model_decides_nothing_about_it(planted: Make, gate: Gate) -> None:
    result = gate(
        planted("train"), f'[[rule]]\nkind = "weights"\nidentity = "{HEX}"\n', top='[run]\nkinds = ["train"]'
    )
    assert (of(result, "tuned: identity").status, result.tuned) == ("inconclusive", None)


def test_the_weights_on_the_command_line_match_a_file_or_the_whole(planted: Make, gate: Gate) -> None:
    run = planted().manifest(lambda m: m["tuned"]["files"].update({"adapter/x": "a" * 64}))
    for sha256, status in ((HEX, "pass"), ("a" * 64, "pass"), ("b" * 64, "violated")):
        result = gate(run, EVIDENCE, weights=sha256)
        assert of(result, "weights of invented-tuned").status == status
        assert result.outcomes[3].rule == "--weights"


def test_unfinished_knows_only_what_is_not_done() -> None:
    from pathlib import Path

    path = Path(__file__).resolve().parents[3] / "data" / "runs" / "compare" / "manifest.json"
    assert unfinished(Manifest.model_validate_json(path.read_text())) == set()
