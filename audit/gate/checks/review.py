"""Checks of the findings log: what is open, and who signed what off."""

from __future__ import annotations

from collections.abc import Iterator

from audit.evidence.findings import SEVERITIES, Findings, FindingState, Severity
from audit.gate.material import Material
from audit.gate.outcome import Seen
from audit.gate.rules import FindingsRule, SignOffRule

LOG = "findings log"


def findings(rule: FindingsRule, material: Material) -> Iterator[Seen]:
    """One outcome per finding that blocks, or one for all."""
    threshold = f"none open from {rule.none_open_from}"
    log = material.findings
    if isinstance(log, str):
        yield _broken(log, threshold)
        return
    counted = [*log.open, *(log.withdrawn if rule.withdrawn_count else ())]
    blocking = [state for state in counted if _from(state, rule.none_open_from)]
    for state in blocking:
        yield _of(state, log, "violated", threshold, f"{state.status}: {state.title}")
    if not blocking:
        missing = not log.entries and rule.log_required
        yield Seen(
            subject=LOG,
            status="inconclusive" if missing else "pass",
            observed=f"{len(log.open)} open of {len(log.current)}",
            threshold=threshold,
            n=len(log.current),
            evidence=material.findings_head,
            reason="nobody wrote a finding on this run" if missing else "",
        )


def sign_off(rule: SignOffRule, material: Material) -> Iterator[Seen]:
    """One outcome per finding that needs signatures."""
    who = f" of {', '.join(rule.reviewers)}" if rule.reviewers else ""
    threshold = f"signed off by {rule.at_least}{who}"
    log = material.findings
    if isinstance(log, str):
        yield _broken(log, threshold)
        return
    needing = [
        state
        for state in log.current.values()
        if state.status != "withdrawn" and _from(state, rule.severity_from)
    ]
    for state in needing:
        names = sorted({entry.reviewer for entry in state.signatures})
        counted = [name for name in names if not rule.reviewers or name in rule.reviewers]
        good = len(counted) >= rule.at_least
        reason = "" if good else f"signed by {', '.join(names) or 'nobody'}: {state.title}"
        yield _of(state, log, "pass" if good else "violated", threshold, reason)
    if not needing:
        nobody = not log.entries
        yield Seen(
            subject=LOG,
            status="inconclusive" if nobody else "pass",
            observed="no findings" if nobody else f"none from {rule.severity_from}",
            threshold=threshold,
            evidence=material.findings_head,
            reason="nobody wrote a finding on this run: it was not reviewed" if nobody else "",
        )


def _from(state: FindingState, least: Severity) -> bool:
    return SEVERITIES.index(state.severity) >= SEVERITIES.index(least)


def _broken(problem: str, threshold: str) -> Seen:
    """A log that was tampered with violates: it must not pass where inconclusive rules do."""
    return Seen(subject=LOG, status="violated", observed="broken", threshold=threshold, reason=problem)


def _of(state: FindingState, log: Findings, status: str, threshold: str, reason: str) -> Seen:
    return Seen(
        subject=f"finding {state.finding} ({state.severity})",
        status="violated" if status == "violated" else "pass",
        observed=state.status,
        threshold=threshold,
        n=len(state.signatures),
        evidence=log.head,
        reason=reason,
    )
