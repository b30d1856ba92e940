"""The outcome as JUnit XML: one test case per outcome."""

from __future__ import annotations

from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from audit.evidence.files import replacing
from audit.gate.outcome import GateResult, Outcome
from audit.gate.words import clean, interval, number


def write_junit(result: GateResult, path: Path) -> None:
    """Writes the file, whole or not at all.

    Violated is a failure, inconclusive an error, or skipped where the policy lets it through.
    """
    suite = TestSuite(clean(f"audit gate: {result.title}"))
    properties = {
        "run": result.run,
        "kind": result.kind,
        "manifest_sha256": result.manifest_sha256,
        "policy": result.policy,
        "policy_sha256": result.policy_sha256,
        "miniature": str(result.miniature).lower(),
        "status": result.status,
    }
    for name, value in properties.items():
        suite.add_property(name, clean(value))
    suite.add_testcases([_case(outcome, result) for outcome in result.outcomes])
    document = JUnitXml()
    document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]  # junitparser leaves it untyped
    with replacing(path) as temporary:
        document.write(str(temporary), pretty=True)


def _case(outcome: Outcome, result: GateResult) -> TestCase:
    case = TestCase(outcome.subject, classname=clean(f"gate.{outcome.kind}.{outcome.rule}"), time=0.0)
    said = outcome.reason or f"wanted: {outcome.threshold}"
    observed = f"{number(outcome.observed)}{interval(outcome.low, outcome.high)}"
    details = (
        f"observed: {observed}\nwanted: {outcome.threshold}\nn: {number(outcome.n)}\n"
        f"claim: {outcome.claim or '-'}\nevidence: {outcome.evidence or '-'}\nreason: {said}"
    )
    if outcome.status == "violated":
        case.result = [_with(Failure(said, "violated"), details)]
    elif outcome.status == "inconclusive":
        kind = Error if result.inconclusive == "fail" else Skipped
        case.result = [_with(kind(said, "inconclusive"), details)]
    else:
        case.system_out = details
    return case


def _with(element: Failure | Error | Skipped, details: str) -> Failure | Error | Skipped:
    element.text = details
    return element
