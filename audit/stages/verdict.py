"""What follows for each behaviour?"""

from __future__ import annotations

from audit.evidence.schema.results import BehaviourResult, BypassResult, DirectionsResult, VerdictResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.verdict import CALIBRATION, Inside, decide


def run(
    measured: BehaviourResult,
    directions: DirectionsResult | None,
    bypass: BypassResult | None,
    audit: AuditInputs,
    folder: StageFolder,
) -> VerdictResult:
    """Applies the rule to each suite's result and to what was seen inside the models."""
    return VerdictResult(
        behaviours=[decide(suite, inside(suite.name, directions, bypass)) for suite in measured.suites],
        calibration=CALIBRATION,
    )


def inside(name: str, directions: DirectionsResult | None, bypass: BypassResult | None) -> Inside:
    """What the stages found about one suite."""
    known = {found.suite: found for found in directions.concepts} if directions else {}
    ways = {found.name: found for found in bypass.behaviours} if bypass else {}
    return Inside(known.get(name), ways.get(name))
