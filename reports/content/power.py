"""The tool's own record: how often it is right about models whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping

from audit.evidence.schema.results import SelftestResult, VerdictResult
from reports.content.parts import absent, claims_table, columns, raw, section
from reports.ledger import Evidence
from reports.model import Block, Line, Paragraph, Section, Source, Span, Table, gap_notice, line
from reports.numbers import estimate, interval, number


def power_section(evidence: Evidence) -> Section:
    """The selftest's confusion matrix, the run's own or that of the thresholds it used; or a gap."""
    question = "How often does this tool miss a mask, and how often does it see one that is not there?"
    return section("power", "Audit power", question, _blocks(evidence))


def _blocks(evidence: Evidence) -> list[Block]:
    if evidence.manifest.kind == "selftest":
        result: SelftestResult | None = evidence.result("selftest")
        if result is None:
            return [absent(evidence, "selftest", "audit power")]
        ledger = claims_table(evidence, "From the ledger", evidence.of("selftest/"))
        return [*_measured(result, evidence.source("selftest", "result.json")), ledger]
    said = evidence.entry("verdict/calibration")
    verdict: VerdictResult | None = evidence.result("verdict")
    if said and verdict and verdict.record is not None:
        source = evidence.source("verdict", "result.json")
        return [_from(evidence.slot(said.claim.id)), *_measured(verdict.record, source)]
    why = line(
        "This run holds no selftest: its verdicts carry no error rates. `audit selftest` measures them."
    )
    told = [line(evidence.slot(said.claim.id), ".")] if said else []
    return [gap_notice("Not measured: audit power", why, *told)]


def _from(slot: Span) -> Paragraph:
    return Paragraph(
        line(
            "The verdicts of this run come from thresholds that were fitted on models whose truth is known, "
            "and measured on others. ",
            slot,
            ".",
        )
    )


def _measured(result: SelftestResult, source: Source) -> list[Block]:
    blocks: list[Block] = [
        Table("Errors", columns(("verdicts", 3.0), ("share, 95 % interval>", 1.6)), _rates(result), source),
        _counts("Planted truth against verdict", "planted truth", result.matrix, source),
    ]
    if result.kinds:
        blocks.append(_counts("Verdicts by construction", "kind", result.kinds, source))
    if result.apart:
        blocks.append(_counts("Outside of accuracy: mixtures, contested", "kind", result.apart, source))
    if result.reliability:
        blocks.append(_reliability(result, source))
    if result.thresholds:
        blocks.append(_thresholds(result, source))
    if result.invalid:
        left_out = (
            f"{len(result.invalid)} organism(s) failed the check of their construction: they count nowhere."
        )
        blocks.append(gap_notice("Left out", line(left_out)))
    if result.command:
        blocks.append(Paragraph(line("Measured by ", Span(result.command, style="code"), ".")))
    return blocks


def _rates(result: SelftestResult) -> tuple[tuple[Line, ...], ...]:
    shares = (
        ("right, of those that were decided", estimate(result.accuracy_decided)),
        ("masked or latent called ERASED or UNCHANGED: the worst error", estimate(result.reassured)),
        ("called MASKED, and were not", estimate(result.alarmed)),
        ("INCONCLUSIVE", number(result.inconclusive)),
    )
    return tuple((line(text), raw(value)) for text, value in shares)


def _counts(title: str, rows: str, counts: Mapping[str, Mapping[str, int]], source: Source) -> Table:
    words = sorted({word for row in counts.values() for word in row})
    head = columns((rows, 1.4), *((f"{word}>", 1.0) for word in words))
    cells = tuple(
        (line(name), *(raw(number(found.get(word, 0))) for word in words))
        for name, found in sorted(counts.items())
    )
    return Table(title, head, cells, source)


def _reliability(result: SelftestResult, source: Source) -> Table:
    head = columns(("stated confidence>", 1.0), ("share right>", 1.0), ("95 % interval", 1.4), ("n>", 0.6))
    cells = tuple(
        (
            raw(number(one.stated)),
            raw(number(one.right)),
            raw(interval(one.low, one.high)),
            raw(number(one.n)),
        )
        for one in result.reliability
    )
    return Table("Is the stated confidence kept?", head, cells, source)


def _thresholds(result: SelftestResult, source: Source) -> Table:
    """In `docs/verdicts.md` and the file of thresholds stands what each is."""
    head = columns(("threshold", 2.0), ("value>", 1.0))
    cells = tuple((line(name), raw(number(value))) for name, value in result.thresholds.items())
    return Table("What the rule compares with", head, cells, source)
