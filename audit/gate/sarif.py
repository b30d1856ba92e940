"""The outcome as SARIF 2.1.0, for code scanning: alerts stand at the rule in the policy file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from audit.evidence.files import write_json
from audit.evidence.provenance import package_version
from audit.gate.outcome import GateResult, Outcome
from audit.gate.words import clean, interval, number

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
KINDS = {"pass": "pass", "violated": "fail", "inconclusive": "open"}
"""`open`: the check could not be decided, in the words of the standard (section 3.27.9)."""


def write_sarif(result: GateResult, path: Path) -> None:
    """Writes the file, whole or not at all."""
    write_json(path, as_sarif(result))


def as_sarif(result: GateResult) -> dict[str, Any]:
    """The outcome as one SARIF log of one run.

    What fails closed is a failure with level error: code scanning shows nothing else.
    """
    rules = list(dict.fromkeys((outcome.kind, outcome.rule) for outcome in result.outcomes))
    places = {rule: place for place, rule in enumerate(rules)}
    driver = {
        "name": "audit gate",
        "version": package_version(),
        "rules": [_rule(kind, name) for kind, name in rules],
    }
    invocation = {"executionSuccessful": True, "exitCode": result.exit_code}
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "results": [_result(o, result, places[o.kind, o.rule]) for o in result.outcomes],
        "properties": {
            "run": clean(result.run),
            "manifestSha256": result.manifest_sha256,
            "policySha256": result.policy_sha256,
            "status": result.status,
            "miniature": result.miniature,
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(kind: str, name: str) -> dict[str, Any]:
    return {
        "id": f"gate/{kind}/{name}",
        "name": kind,
        "shortDescription": {"text": name},
        "fullDescription": {"text": f"A rule of kind {kind}; see docs/gate.md."},
    }


def _result(outcome: Outcome, result: GateResult, place: int) -> dict[str, Any]:
    closed = outcome.status == "inconclusive" and result.inconclusive == "fail"
    kind = "fail" if closed else KINDS[outcome.status]
    return {
        "ruleId": f"gate/{outcome.kind}/{outcome.rule}",
        "ruleIndex": place,
        "kind": kind,
        "level": "error" if kind == "fail" else "none",
        "message": {"text": _message(outcome)},
        "locations": [_location(outcome, result)],
        "partialFingerprints": {"gateRule/v1": _fingerprint(outcome)},
        "properties": {
            "status": outcome.status,
            "claim": outcome.claim,
            "evidenceSha256": outcome.evidence,
            "n": outcome.n,
        },
    }


def _message(outcome: Outcome) -> str:
    """Plain text: brackets are escaped, since a message may hold links."""
    seen = f"{number(outcome.observed)}{interval(outcome.low, outcome.high)}"
    reason = f" Because: {outcome.reason}." if outcome.reason else ""
    text = f"{outcome.subject}: {seen}; wanted: {outcome.threshold}.{reason}"
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")


def _location(outcome: Outcome, result: GateResult) -> dict[str, Any]:
    """The rule in the policy file, named as the repository knows it where the gate runs in its root."""
    path = Path(result.policy)
    if path.is_absolute():
        path = path.relative_to(Path.cwd() if path.is_relative_to(Path.cwd()) else path.anchor)
    artifact = {"uri": quote(path.as_posix())}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": outcome.line}}}


def _fingerprint(outcome: Outcome) -> str:
    return hashlib.sha256(f"{outcome.kind}\0{outcome.rule}\0{outcome.subject}".encode()).hexdigest()
