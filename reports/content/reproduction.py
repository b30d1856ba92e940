"""How to make the run again, and every file of it with its hash; then the ledger itself."""

from __future__ import annotations

import shlex

from audit.errors import RunFolderError
from audit.evidence.files import read_json
from audit.evidence.schema.documents import Done
from audit.evidence.stage import DONE
from reports.content.parts import code, columns, quiet, section
from reports.ledger import Entry, Evidence
from reports.model import (
    Block,
    Facts,
    Heading,
    Line,
    Paragraph,
    Section,
    Source,
    Span,
    Table,
    gap,
    gap_notice,
    line,
)
from reports.numbers import DASH, claimed, number

MOST_FILES, MOST_CLAIMS = 2000, 4000


def reproduction_section(evidence: Evidence) -> Section:
    """Command, versions and seeds, artefact index."""
    manifest = evidence.manifest
    facts = Facts((
        ("command", line(code(shlex.join(manifest.command)))),
        ("settings", line(code("config.toml"), " ", code(manifest.config or "not recorded"))),
        ("seed", line(number(manifest.seed))),
        ("version", line(f"unmask {manifest.version}, code ", code(manifest.code))),
        ("verify the run", line(code("audit verify RUN"))),
        ("verify this report", line(code("audit verify report.pdf --run RUN"))),
    ))  # fmt: skip
    blocks: list[Block] = [facts, Heading("Artefacts"), _artefacts(evidence)]
    question = "How is this made again, and which bytes is it made of?"
    return section("reproduction", "Reproduction", question, blocks)


def _artefacts(evidence: Evidence) -> Table:
    rows = [_file("manifest.json", evidence.manifest_sha256), _file("config.toml", evidence.manifest.config)]
    rows.append(_file("claims.json", evidence.manifest.claims))
    for stage, state in evidence.manifest.stages.items():
        if state.status != "done":
            continue
        if evidence.stage_problems[stage]:
            rows.append((line(code(f"stages/{stage}")), line(gap(evidence.stage_problems[stage][0]))))
            continue
        rows += [_file(f"stages/{stage}/{name}", sha) for name, sha in _files_of(evidence, stage)]
    note = (
        None if len(rows) <= MOST_FILES else f"cut: {number(len(rows))} files in all, named in the DONE files"
    )
    head = columns(("file", 1.5), ("SHA-256", 2.4))
    source = Source("manifest.json", evidence.manifest_sha256)
    return Table("Artefact index", head, tuple(rows[:MOST_FILES]), source, note)


def _files_of(evidence: Evidence, stage: str) -> list[tuple[str, str]]:
    try:
        done = Done.model_validate(read_json(evidence.run.stage_path(stage) / DONE))
    except (RunFolderError, ValueError):
        return []
    return sorted(done.files.items())


def _file(name: str, sha256: str | None) -> tuple[Line, ...]:
    return (line(code(name)), line(code(sha256) if sha256 else gap("not recorded")))


def index_section(evidence: Evidence) -> Section:
    """Every claim of the ledger: its number, id, value, n, and where its evidence stands."""
    question = "Where does each number come from? The small numbers behind values point here."
    how = Paragraph(line(
        "A claim is one sentence of the run's ledger, claims.json, which travels inside the PDF. "
        "Its evidence is a value inside a file of the run, found by the pointer; the hash begins "
        "that file's SHA-256.",
    ))  # fmt: skip
    if not evidence.entries:
        empty = gap_notice("The ledger is empty", *(line(text) for text in evidence.ledger_problems))
        return section("evidence", "Evidence index", question, [how, empty])
    shown = evidence.entries[:MOST_CLAIMS]
    left = len(evidence.entries) - len(shown)
    note = f"cut: {number(left)} more claims are in the attached claims.json" if left else None
    head = columns(("claim", 2.3), ("value and interval", 1.8), ("n>", 0.7), ("evidence", 2.3), ("hash", 0.8))
    table = Table("Claims", head, tuple(_claim(evidence, entry) for entry in shown), None, note)
    return section("evidence", "Evidence index", question, [how, table])


def _claim(evidence: Evidence, entry: Entry) -> tuple[Line, ...]:
    claim = entry.claim
    value = Span(claimed(claim), key=entry.number) if entry.holds else gap(f"withheld: {entry.problems[0]}")
    at = f"{claim.evidence.file}#{claim.evidence.pointer}"
    count = line(quiet(DASH)) if claim.n is None else line(number(claim.n))
    short = line(code(claim.evidence.sha256[:8]))
    return (line(code(claim.id)), line(value), count, line(code(at)), short)
