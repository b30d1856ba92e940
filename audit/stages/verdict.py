"""What follows for each behaviour?"""

from __future__ import annotations

from audit.calibration import Thresholds
from audit.evidence.schema.results import VerdictResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.verdict import Results, decide, evidence_of


def run(results: Results, thresholds: Thresholds, audit: AuditInputs, folder: StageFolder) -> VerdictResult:
    """Applies the rule to what the other stages found."""
    return VerdictResult(
        behaviours=[decide(evidence, thresholds) for evidence in evidence_of(results)],
        calibration=thresholds.calibration,
        thresholds=thresholds.numbers,
        record=thresholds.record,
    )
