"""The whole path: exit codes, policies that fit nothing, hostile run folders, and what is never written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.errors import OutputError, RunFolderError, UsageError
from audit.evidence.findings import append_finding
from audit.gate import material
from audit.gate.config import GateConfig
from audit.gate.outcome import GateResult

Gate, Make = Callable[..., GateResult], Callable[..., Any]
FINE = '[[rule]]\nkind = "evidence"\nstages = ["drift"]\n'
OPEN = '[[rule]]\nkind = "evidence"\nstages = ["relearn"]\n'
BROKEN = '[[rule]]\nkind = "drift"\nat_most = 0.1\n'


@pytest.mark.parametrize(
    ("rules", "top", "code"),
    [
        (FINE, "", 0),
        (FINE + BROKEN, "", 2),
        (FINE + OPEN, "", 3),
        (FINE + OPEN, 'inconclusive = "pass"', 0),
        (OPEN + BROKEN + FINE, "", 2),
        (OPEN + BROKEN, 'inconclusive = "pass"', 2),
        (OPEN, 'inconclusive = "pass"', 0),
    ],
)
def test_exit_codes(planted: Make, gate: Gate, rules: str, top: str, code: int) -> None:
    assert gate(planted().sealed(), rules, top=top).exit_code == code


def test_rules_that_fit_nothing_are_an_error_and_no_pass(planted: Make, gate: Gate) -> None:
    run = planted().sealed()
    nothing = '[[rule]]\nkind = "bound"\nclaim = "behaviours/*"\nbelow = 1\n'
    with pytest.raises(UsageError, match="fit nothing in this run"):
        gate(run, nothing, top='inconclusive = "pass"')
    assert gate(run, nothing + FINE).exit_code == 3
    assert gate(run, nothing.replace("*", "absent")).exit_code == 3


def test_the_policys_hash_and_the_models_are_in_the_result(planted: Make, gate: Gate) -> None:
    result = gate(planted().sealed(), FINE)
    assert (result.base.reference, result.tuned and result.tuned.reference) == (
        "invented-base",
        "invented-tuned",
    )
    assert (len(result.policy_sha256), result.kind, result.title) == (64, "compare", "test")


def test_the_run_folder_is_only_read(planted: Make, gate: Gate, tmp_path: Path) -> None:
    run = planted().sealed()
    append_finding(
        run.path / "findings.jsonl", {"action": "opened", "severity": "low", "title": "t", "reviewer": "A"}
    )
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    rules = (
        FINE
        + '[[rule]]\nkind = "findings"\nnone_open_from = "high"\n[[rule]]\nkind = "sentinel"\nsuite = "*"\n'
    )
    gate(run, rules, junit=str(tmp_path / "a.xml"), sarif=str(tmp_path / "a.sarif"))
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    for option in ("junit", "sarif"):
        with pytest.raises(UsageError, match="inside the run folder"):
            gate(run, FINE, **{option: str(run.path / "stages" / "x")})


def test_an_outcome_that_cannot_be_written_is_an_error(planted: Make, gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        gate(planted().sealed(), FINE, junit=str(tmp_path / "file" / "gate.xml"))


@pytest.mark.parametrize(
    ("option", "value"), [("weights", "abc"), ("manifest", "G" * 64), ("weights", "A" * 64), ("manifest", "")]
)
def test_options_that_are_no_hashes_are_refused(option: str, value: str) -> None:
    with pytest.raises(UsageError, match="no SHA-256"):
        GateConfig(run="r", policy="p", **{option: value})


def test_one_file_for_two_outcomes_is_refused() -> None:
    with pytest.raises(UsageError, match="one file"):
        GateConfig(run="r", policy="p", junit="x", sarif="x")


def no_run(run: Any) -> None:
    (run.path / "manifest.json").unlink()


def torn_manifest(run: Any) -> None:
    path = run.path / "manifest.json"
    path.write_text(path.read_text()[:200])


def nested_manifest(run: Any) -> None:
    (run.path / "manifest.json").write_text('{"a":' * 100_000)


def nested_claims(run: Any) -> None:
    (run.path / "claims.json").write_text("[" * 100_000)


def nested_result(run: Any) -> None:
    (run.path / "stages" / "drift" / "result.json").write_text("[" * 100_000)


def nan_in_claims(run: Any) -> None:
    path = run.path / "claims.json"
    path.write_text(path.read_text().replace("0.75", "NaN"))


def linked_claims(run: Any) -> None:
    (run.path / "claims.json").unlink()
    (run.path / "claims.json").symlink_to("/etc/passwd")


def linked_result(run: Any) -> None:
    path = run.path / "stages" / "drift" / "result.json"
    path.unlink()
    path.symlink_to("/etc/passwd")


def binary_claims(run: Any) -> None:
    (run.path / "claims.json").write_bytes(os.urandom(1000))


def other_format(run: Any) -> None:
    run.manifest(lambda m: m.update(format=99))


HOSTILE = [
    no_run, torn_manifest, nested_manifest, nested_claims, nested_result, nan_in_claims, linked_claims,
    linked_result, binary_claims, other_format,
]  # fmt: skip


@pytest.mark.parametrize("spoil", HOSTILE)
def test_a_hostile_run_is_refused_or_violates_and_never_passes(planted: Make, gate: Gate, spoil: Any) -> None:
    run = planted().sealed()
    spoil(run)
    said = said_of(lambda: gate(run, BROKEN.replace("0.1", "99"), top='inconclusive = "pass"'))
    assert len(said) < 2_000
    assert "root:" not in said


def said_of(hold: Callable[[], GateResult]) -> str:
    """The reason of a violation, or the message of the refusal."""
    try:
        result = hold()
    except RunFolderError as error:
        return str(error)
    assert result.exit_code == 2
    return result.of("violated")[0].reason


def test_documents_that_are_too_large_are_refused_before_they_are_read(
    planted: Make, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planted().sealed()
    monkeypatch.setattr(material, "LARGEST_DOCUMENT", 1_000)
    with pytest.raises(RunFolderError, match="larger than"):
        gate(run, FINE)


def test_tables_that_are_too_large_or_broken_say_nothing(
    planted: Make, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = '[[rule]]\nkind = "dose"\nmeasure = "recovered"\nthreshold = 0.5\nwithstands = 1\n'
    run = planted().sealed()
    monkeypatch.setattr(material, "LARGEST_TABLE", 300)
    assert gate(run, rule).outcomes[-1].reason == "the table cannot be read"
    monkeypatch.undo()
    path = run.path / "stages" / "bypass" / "doses.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    result = gate(run, rule)
    assert (result.outcomes[-1].reason, result.exit_code) == ("the table cannot be read", 2)
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert gate(run, rule).outcomes[-1].reason == "the table cannot be read"


def test_a_result_that_cannot_be_read_says_nothing(planted: Make, gate: Gate) -> None:
    run = planted().sealed()
    run.result("behaviour", lambda d: d.update(suites=5))
    result = gate(run, '[[rule]]\nkind = "sentinel"\nsuite = "x"\n')
    assert (result.outcomes[-1].status, result.exit_code) == ("inconclusive", 2)


def test_a_stage_that_leads_out_of_the_folder_is_not_followed(planted: Make, gate: Gate) -> None:
    run = planted().sealed()
    run.manifest(lambda m: m["stages"].update({"../../outside": {"status": "done", "done": "0" * 64}}))
    result = gate(run, FINE.replace("drift", "../../outside"))
    assert result.exit_code == 2
    assert "lies outside the run folder" in result.of("violated")[0].reason


def test_ten_megabytes_in_a_claim_end_in_a_short_outcome(planted: Make, gate: Gate) -> None:
    run = planted().sealed()
    path = run.path / "claims.json"
    found = json.loads(path.read_text())
    found["claims"][0]["id"] = "verdict/" + "x" * 10_000_000
    path.write_text(json.dumps(found))
    result = gate(run, '[[rule]]\nkind = "verdict"\nallowed = ["ERASED"]\n')
    assert result.exit_code == 2


def test_the_gate_imports_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "streamlit", "plotly", "duckdb", "matplotlib", "junitparser"]
    code = f"import sys, audit.gate.run, audit.gate.text; print(sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
