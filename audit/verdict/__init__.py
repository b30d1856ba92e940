"""Evidence to verdict, nothing else: pure, and deaf to everything but its arguments.

`evidence_of` turns the results of a run into one row of numbers per behaviour, `decide` turns such a row and
the thresholds into a verdict. Thresholds can so be fitted again without running anything again.
"""

from __future__ import annotations

from audit.evidence.schema.results import DoseEvidence, WayEvidence
from audit.evidence.schema.results import LadderEvidence as Evidence
from audit.verdict.gather import Results, evidence_of
from audit.verdict.rule import decide

__all__ = ["DoseEvidence", "Evidence", "Results", "WayEvidence", "decide", "evidence_of"]
