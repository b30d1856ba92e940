"""Results on the verdicts: the stage `verdict`."""

from __future__ import annotations

from typing import Literal

from audit.evidence.schema.documents import Document

Verdict = Literal["UNCHANGED", "MASKED", "LATENT", "ERASED", "INDUCED", "INCONCLUSIVE"]


class BehaviourVerdict(Document):
    """The verdict on one behaviour."""

    name: str
    verdict: Verdict
    reasons: list[str]
    missing: list[str]
    """Evidence that a firmer verdict would need and this run has not got."""


class VerdictResult(Document):
    """Result of the stage `verdict`."""

    behaviours: list[BehaviourVerdict]
    calibration: str
    """The tool's own record, or a sentence that it was not measured."""
