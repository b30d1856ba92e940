"""The findings log: what reviewers saw in a run and who signed it off; lines are added, never changed.

`findings.jsonl` holds one JSON object per line. Each line names the SHA-256 of the line before, so that a
line which was changed, removed or put in between shows. A chain proves nothing against somebody who writes
all of it anew, nor against lines cut off its end: keep `Findings.head` where the log's author cannot write.
"""

from audit.evidence.findings.append import LOCK, append_finding
from audit.evidence.findings.entry import SEVERITIES, Action, Entry, Finding, Severity, Status
from audit.evidence.findings.read import FINDINGS, GENESIS, LARGEST_LOG, check_chain, read_findings
from audit.evidence.findings.state import Findings, FindingState

__all__ = [
    "FINDINGS",
    "GENESIS",
    "LARGEST_LOG",
    "LOCK",
    "SEVERITIES",
    "Action",
    "Entry",
    "Finding",
    "FindingState",
    "Findings",
    "Severity",
    "Status",
    "append_finding",
    "check_chain",
    "read_findings",
]
