"""`audit report RUN`: from a run folder to a file, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from audit.errors import OutputError
from audit.evidence.files import output_errors, replacing
from audit.evidence.findings import FINDINGS
from audit.evidence.run import CLAIMS, MANIFEST
from reports.attached import GATE, SECTIONS, gate_json
from reports.config import Format, ReportConfig
from reports.content import report_of
from reports.content.gate import Gate, gate_of
from reports.data import report_json
from reports.ledger import Evidence, evidence_of
from reports.model import Report
from reports.ours import is_ours
from reports.pdf import Attachment, pdf_of


def run_report(config: ReportConfig) -> Path:
    """Writes what was asked for and returns its path.

    Raises:
        RunFolderError: there is no run, or its manifest or ledger cannot be read.
        OutputError: the file cannot be written, or is something other than an earlier report.
    """
    gate = None if config.policy is None else _judged(config.run, config.policy)
    kind: Format = config.format  # type: ignore[assignment]  # ReportConfig has checked it
    out = Path(config.run) / f"report.{kind}" if config.out is None else Path(config.out)
    return write_report(Path(config.run), out, kind, gate)


def write_report(run: Path, out: Path, kind: Format = "pdf", gate: Gate | None = None) -> Path:
    """Writes the report of a run; an earlier report there is replaced, anything else is refused."""
    _refuse_foreign(out)
    content = content_of(evidence_of(run), kind, gate)
    with output_errors(out), replacing(out) as temporary:
        temporary.write_bytes(content)
    return out


def content_of(evidence: Evidence, kind: Format, gate: Gate | None = None) -> bytes:
    """The bytes of the report; the same for the same run."""
    report = report_of(evidence, gate)
    if kind == "pdf":
        return pdf_of(report, attachments(evidence, report, gate))
    if kind == "html":
        from reports.html import html_of

        return html_of(report).encode()
    if kind == "md":
        from reports.markdown import markdown_of

        return markdown_of(report).encode()
    return (report_json(report) + "\n").encode()


def attachments(evidence: Evidence, report: Report, gate: Gate | None) -> tuple[Attachment, ...]:
    """What travels inside the PDF: the ledger, the manifest, the findings, and the report as data."""
    kind = "application/json"
    found = [Attachment(MANIFEST, evidence.manifest_bytes, kind, "What was run, on what, with what")]
    if evidence.claims_bytes is not None:
        found.append(Attachment(CLAIMS, evidence.claims_bytes, kind, "Every sentence with its evidence"))
    if said := evidence.findings_bytes:
        found.append(Attachment(FINDINGS, said, "application/x-ndjson", "The log of reviewers' findings"))
    if gate is not None:
        found.append(Attachment(GATE, gate_json(gate), kind, "The result of the release gate"))
    data = report_json(report, figures=False).encode()
    return (*found, Attachment(SECTIONS, data, kind, "This report as data"))


def _judged(run: str, policy: str) -> Gate:
    from audit.gate.config import GateConfig
    from audit.gate.run import run_gate

    return gate_of(run_gate(GateConfig(run, policy)))


def _refuse_foreign(out: Path) -> None:
    with output_errors(out):
        if out.is_dir():
            raise OutputError("The output is a folder.", where=str(out), fix="name a file with --out")
        if not out.exists():
            return
        if not out.is_file() or (out.stat().st_size and not is_ours(out)):
            raise OutputError(
                "The output exists and is no report of this tool.",
                where=str(out),
                fix="name another file with --out; nothing was changed there",
            )
