"""The findings of reviewers, with who signed them off."""

from __future__ import annotations

from audit.evidence.findings import FINDINGS, Finding, FindingState
from reports.content.parts import code, columns, quiet, section, strong
from reports.ledger import Evidence
from reports.model import Block, Bullets, Heading, Line, Paragraph, Section, Span, Table, gap_notice, line

ORDER = ("critical", "high", "medium", "low", "info")


def findings_section(evidence: Evidence) -> Section:
    """Current state first, then the whole log as it was written."""
    question = "What did people conclude from this evidence, and who signed for it?"
    found, problems = evidence.findings
    blocks: list[Block] = []
    if problems:
        blocks.append(gap_notice("The log of findings does not verify", *(line(text) for text in problems)))
    if found is None or not found.entries:
        empty = line("No reviewer has written a finding: ", code(FINDINGS), " is empty or missing.")
        return section(
            "findings", "Findings and sign-offs", question, [*blocks, gap_notice("No findings", empty)]
        )
    states = sorted(found.current.values(), key=lambda state: (ORDER.index(state.severity), state.finding))
    blocks.append(_overview(states))
    for state in states:
        blocks += _history(evidence, state)
    blocks.append(Paragraph(line(quiet("Head of the log, SHA-256 of its last line: "), code(found.head))))
    return section("findings", "Findings and sign-offs", question, blocks)


def _overview(states: list[FindingState]) -> Table:
    head = columns(("finding", 0.6), ("severity", 0.8), ("title", 3.0), ("status", 0.9), ("signed by", 1.3))
    rows = tuple(
        (
            line(code(state.finding)), line(state.severity), line(state.title), line(strong(state.status)),
            line(", ".join(entry.reviewer for entry in state.signatures) or quiet("nobody")),
        )
        for state in states
    )  # fmt: skip
    return Table("Where each finding stands", head, rows)


def _history(evidence: Evidence, state: FindingState) -> list[Block]:
    lines = tuple(_entry(entry) for entry in state.entries)
    evidenced = _addresses(evidence, state.evidence)
    blocks: list[Block] = [Heading(f"{state.finding} · {state.title}"), Bullets(lines)]
    return [*blocks, Paragraph(evidenced)] if evidenced else blocks


def _entry(entry: Finding) -> Line:
    note = entry.note.replace("\n", " ").replace("\t", " ")
    head = f"{entry.action} by {entry.reviewer}, {entry.at}, severity {entry.severity}"
    return line(strong(head), f": {note}" if note.strip() else ".")


def _addresses(evidence: Evidence, addresses: tuple[str, ...]) -> Line:
    """Claims by their key, other addresses by name."""
    parts: list[Span] = []
    for address in addresses:
        entry = evidence.entry(address)
        known = entry is not None and entry.holds
        parts.append(Span(address, "code"))
        if known:
            parts += [Span(" = "), evidence.slot(address)]
        parts.append(Span("; "))
    return line(quiet("Evidence: "), *parts[:-1], ".") if parts else ()
