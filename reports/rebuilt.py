"""The report made again from its run: the strongest check that there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from audit.errors import RunFolderError
from audit.evidence.findings import FINDINGS
from audit.evidence.run import CLAIMS, MANIFEST
from reports.attached import GATE, gate_from
from reports.build import attachments
from reports.content import report_of
from reports.data import as_data
from reports.ledger import Evidence, evidence_of
from reports.opened import OpenedPDF
from reports.pdf import pdf_of


def against_run(pdf: Path, opened: OpenedPDF, report: Any, run: Path) -> tuple[list[str], bool | None]:
    """Problems of the report held against a run folder, and whether making it again gives the same bytes."""
    evidence = evidence_of(run)
    found = [f"the run: {problem}" for problem in evidence.problems]
    found += _same_files(opened, evidence)
    if found:
        return found, None
    evidence.use_findings(opened.attached.get(FINDINGS))
    gate = _gate(opened)
    made = report_of(evidence, gate, report.get("run"))
    again = json.loads(json.dumps(as_data(made, False)))
    if again["made_with"] != report.get("made_with"):
        return [*found, *_changed(report, again, ("sections",))], None
    if differing := _changed(report, again, tuple(again)):
        return differing, False
    same = pdf_of(made, attachments(evidence, made, gate)) == pdf.read_bytes()
    problem = "made again from the run, the file has other bytes: a figure or something unseen was changed"
    return ([] if same else [problem]), same


def _same_files(opened: OpenedPDF, evidence: Evidence) -> list[str]:
    """The attachments are the run's own files; a log of findings may have grown since."""
    found = []
    for name, content in ((MANIFEST, evidence.manifest_bytes), (CLAIMS, evidence.claims_bytes)):
        if opened.attached.get(name) != content:
            found.append(f"the attached {name} is not this run's")
    if not evidence.findings_bytes.startswith(opened.attached.get(FINDINGS, b"")):
        found.append(f"the attached {FINDINGS} is not the beginning of this run's")
    return found


def _gate(opened: OpenedPDF) -> Any:
    """The gate's words are the report's own: `audit gate` judges the run again."""
    if GATE not in opened.attached:
        return None
    try:
        return gate_from(json.loads(opened.attached[GATE]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunFolderError(
            f"The attached {GATE} is broken.", where=GATE, fix="write the report again"
        ) from error


def _changed(report: Any, again: Any, names: tuple[str, ...]) -> list[str]:
    found = []
    for name in names:
        if name != "sections" and report.get(name) != again[name]:
            found.append(f"made again from the run, the report has another {name}")
    if "sections" in names:
        theirs = {section["name"]: section for section in report.get("sections", [])}
        ours = {section["name"]: section for section in again["sections"]}
        for name in {**ours, **theirs}:
            if ours.get(name) != theirs.get(name):
                found.append(f"made again from the run, the section {name} is another")
    return found
