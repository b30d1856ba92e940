"""Findings as rows, and the addresses of evidence that a reviewer may name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from audit.evidence.findings import FindingState, Status
from audit.evidence.schema.documents import Claim

HISTORY = ["entry", "at (UTC)", "action", "severity", "reviewer", "note", "evidence"]
BOARD: dict[Status, str] = {"open": "Open", "signed off": "Signed off", "withdrawn": "Withdrawn"}
"""Columns of the board, in their order."""


class FeatureAddress(NamedTuple):
    """A latent as findings name it: HOOK/LATENT."""

    hook: str
    latent: int


def history(finding: FindingState) -> pd.DataFrame:
    """Everything that was said about a finding, the oldest first."""
    rows = [
        [e.id, e.at, e.action, e.severity, e.reviewer, e.note, ", ".join(e.evidence)] for e in finding.entries
    ]
    return pd.DataFrame(rows, columns=HISTORY)


def board(findings: Mapping[str, FindingState]) -> pd.DataFrame:
    """One row per finding, as it stands."""
    rows = [
        {
            "finding": name,
            "status": found.status,
            "severity": found.severity,
            "title": found.title,
            "evidence": ", ".join(found.evidence),
            "opened by": found.entries[0].reviewer,
            "signed off by": ", ".join(entry.reviewer for entry in found.signatures),
            "entries": len(found.entries),
            "last": found.entries[-1].at,
        }
        for name, found in findings.items()
    ]
    columns = [
        "finding",
        "status",
        "severity",
        "title",
        "evidence",
        "opened by",
        "signed off by",
        "entries",
        "last",
    ]
    return pd.DataFrame(rows, columns=columns)


def feature_address(text: str, hooks: Sequence[str]) -> FeatureAddress | None:
    """The latent that an address HOOK/LATENT names; None if it names none of these hook points'."""
    hook, _, latent = text.rpartition("/")
    if hook not in hooks or not (latent.isascii() and latent.isdigit() and len(latent) <= 9):
        return None
    return FeatureAddress(hook, int(latent))


def strangers(addresses: Sequence[str], claims: Sequence[Claim], hooks: Sequence[str]) -> list[str]:
    """Addresses that are neither a claim of the run nor a latent of its hook points."""
    known = {claim.id for claim in claims}
    return [text for text in addresses if text not in known and feature_address(text, hooks) is None]
