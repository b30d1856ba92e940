"""Open findings, signatures, and a log that was tampered with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from audit.evidence.findings import append_finding
from audit.gate.outcome import GateResult

Gate, Make = Callable[..., GateResult], Callable[..., Any]
FINDINGS = '[[rule]]\nkind = "findings"\nnone_open_from = "high"\n'
SIGNED = '[[rule]]\nkind = "sign_off"\n'


def opened(run: Any, severity: str, title: str = "seen", reviewer: str = "Ada") -> str:
    entry = {"action": "opened", "severity": severity, "title": title, "reviewer": reviewer}
    return append_finding(run.path / "findings.jsonl", entry).finding


def act(run: Any, action: str, finding: str, reviewer: str = "Ada", **fields: Any) -> None:
    entry = {"action": action, "finding": finding, "reviewer": reviewer, **fields}
    append_finding(run.path / "findings.jsonl", entry)


def seen(result: GateResult) -> dict[str, str]:
    return {o.subject: o.status for o in result.outcomes if o.kind != "run"}


@pytest.fixture
def run(planted: Make) -> Any:
    return planted().sealed()


def test_a_run_that_nobody_looked_at_decides_nothing(run: Any, gate: Gate) -> None:
    assert gate(run, FINDINGS).exit_code == gate(run, SIGNED).exit_code == 3
    assert gate(run, FINDINGS).findings_head is None
    assert gate(run, FINDINGS + "log_required = false\n").exit_code == 0


def test_open_findings_from_a_severity_block(run: Any, gate: Gate) -> None:
    opened(run, "medium")
    assert gate(run, FINDINGS).exit_code == 0
    name = opened(run, "critical", "<script>alert(1)</script>")
    result = gate(run, FINDINGS)
    assert seen(result) == {f"finding {name} (critical)": "violated"}
    assert "open: <script>alert(1)</script>" in result.of("violated")[0].reason
    assert result.findings_head is not None
    act(run, "signed off", name)
    assert gate(run, FINDINGS).exit_code == 0
    act(run, "noted", name, severity="low")
    act(run, "noted", name, severity="high")
    assert gate(run, FINDINGS).exit_code == 2


def test_withdrawn_findings_count_where_the_policy_says_so(run: Any, gate: Gate) -> None:
    act(run, "withdrawn", opened(run, "high"))
    assert gate(run, FINDINGS).exit_code == 0
    assert gate(run, FINDINGS + "withdrawn_count = true\n").exit_code == 2


def test_every_finding_needs_its_signatures(run: Any, gate: Gate) -> None:
    first, second = opened(run, "high"), opened(run, "info")
    act(run, "signed off", first)
    result = gate(run, SIGNED)
    assert seen(result) == {"finding F1 (high)": "pass", "finding F2 (info)": "violated"}
    assert "signed by nobody" in result.of("violated")[0].reason
    assert gate(run, SIGNED + 'severity_from = "low"\n').exit_code == 0
    two = SIGNED + 'severity_from = "low"\nat_least = 2\n'
    assert gate(run, two).exit_code == 2
    act(run, "signed off", first, reviewer="Grace")
    assert gate(run, two).exit_code == 0
    assert gate(run, two + 'reviewers = ["Ada", "Edsger"]\n').exit_code == 2
    act(run, "withdrawn", second)
    assert gate(run, SIGNED).exit_code == 0
    assert gate(run, SIGNED + 'severity_from = "critical"\n').exit_code == 0


@pytest.mark.parametrize("rule", [FINDINGS, SIGNED])
@pytest.mark.parametrize("spoil", ["torn", "changed", "nonsense"])
def test_a_log_that_was_tampered_with_violates_even_where_gaps_pass(
    run: Any, gate: Gate, rule: str, spoil: str
) -> None:
    opened(run, "low")
    opened(run, "low")
    log = run.path / "findings.jsonl"
    whole = log.read_bytes()
    spoiled = {"torn": whole[:-5], "changed": whole.replace(b"Ada", b"Eve", 1), "nonsense": whole + b"{}\n"}
    log.write_bytes(spoiled[spoil])
    result = gate(run, rule, top='inconclusive = "pass"')
    assert result.exit_code == 2
    assert "broken" in [outcome.observed for outcome in result.of("violated")]
    assert result.findings_head is None
