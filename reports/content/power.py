"""The tool's own record: how often it is right about models whose truth is known."""

from __future__ import annotations

from audit.evidence.schema.results import SelftestResult
from reports.content.parts import absent, claims_table, columns, raw, section
from reports.ledger import Evidence
from reports.model import Block, Section, Table, gap_notice, line
from reports.numbers import estimate, number

WRONG = {
    "false_masked": "called MASKED, and were not",
    "false_erased": "called ERASED, and were not: the worst error",
}


def power_section(evidence: Evidence) -> Section:
    """The selftest's confusion matrix, or a gap."""
    question = "How often does this tool miss a mask, and how often does it see one that is not there?"
    if evidence.manifest.kind == "selftest":
        return section("power", "Audit power", question, _matrix(evidence))
    said = evidence.entry("verdict/calibration")
    recorded = [line(evidence.slot(said.claim.id), ".")] if said else []
    why = line(
        "This run holds no selftest: its verdicts carry no error rates. `audit selftest` measures them."
    )
    return section(
        "power", "Audit power", question, [gap_notice("Not measured: audit power", why, *recorded)]
    )


def _matrix(evidence: Evidence) -> list[Block]:
    result: SelftestResult | None = evidence.result("selftest")
    if result is None:
        return [absent(evidence, "selftest", "audit power")]
    verdicts = sorted({word for row in result.matrix.values() for word in row})
    head = columns(("planted truth", 1.4), *((f"{word}>", 1.0) for word in verdicts))
    rows = tuple(
        (line(truth), *(raw(number(found.get(word, 0))) for word in verdicts))
        for truth, found in sorted(result.matrix.items())
    )
    source = evidence.source("selftest", "result.json")
    rates = tuple((line(text), raw(number(getattr(result, name)))) for name, text in WRONG.items())
    decided = (
        line("right, of those that were decided, 95 % interval"),
        raw(estimate(result.accuracy_decided)),
    )
    return [
        Table("Errors", columns(("organisms", 3.0), ("share>", 1.4)), (*rates, decided), source),
        Table("Planted truth against verdict", head, rows, source),
        claims_table(evidence, "From the ledger", evidence.of("selftest/")),
    ]
