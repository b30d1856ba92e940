"""Where this report can support other documents; it fulfils none of them by itself."""

from __future__ import annotations

from reports.content.parts import code, columns, section, strong, texts
from reports.ledger import Evidence
from reports.model import Block, Column, Heading, Line, Notice, Section, Table, line

ANNEX_IV = columns(("point", 0.5), ("heading", 2.4), ("this report", 0.9), ("with what", 2.6))
NIST = columns(("outcome", 1.0), ("in short", 2.8), ("supported by", 2.2))
CASE = columns(("claim", 2.3), ("argument", 1.9), ("evidence in the ledger", 2.2))
MEANT = (
    "The rows say where a section of this report can support a document that others write. A tool cannot "
    "comply with a law or a framework on anybody's behalf, and Annex IV concerns high-risk AI systems. "
    "Headings are abridged: read the legal text."
)


def crosswalk_section(evidence: Evidence) -> Section:
    """Annex IV, NIST AI RMF, and the claims of a safety case: crosswalk.toml, and what the ledger holds."""
    said = texts("crosswalk")
    blocks: list[Block] = [
        Notice("note", "“Supports” is all that is meant", (line(MEANT),)),
        Heading("EU AI Act, Regulation (EU) 2024/1689, Annex IV: technical documentation"),
        _fixed("Annex IV", ANNEX_IV, said["annex_iv"]),
        Heading("NIST AI Risk Management Framework, first version (AI 100-1)"),
        _fixed("AI RMF", NIST, said["nist"]),
        Heading("Safety case: claim, argument, evidence"),
        Table("Claim, argument, evidence", CASE, tuple(_argument(evidence, one) for one in said["argument"])),
    ]
    question = "Which other documents can this report support?"
    return section("crosswalk", "Cross-reference", question, blocks)


def _fixed(title: str, head: tuple[Column, ...], rows: list[dict[str, str]]) -> Table:
    return Table(title, head, tuple(tuple(line(text) for text in row.values()) for row in rows))


def _argument(evidence: Evidence, row: dict[str, str]) -> tuple[Line, ...]:
    """The evidence is the claims of the ledger that verify, by their numbers."""
    entries = evidence.of(row["prefix"])
    held = [entry for entry in entries if entry.holds]
    if not entries:
        found: Line = line(strong("gap: no evidence in this run"))
    elif not held:
        found = line(strong("gap: the evidence does not verify"))
    else:
        found = line("claims ", code(f"{row['prefix']}…"), f" numbered {held[0].number} to {held[-1].number}")
    return (line(row["claim"]), line(row["argument"]), found)
