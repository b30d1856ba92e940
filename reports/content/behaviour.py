"""What the models do: effects, paired items, flips; and whether the chat template explains it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.evidence.schema.results import SuiteResult, TemplateResult
from reports.content.parts import absent, claims_table, columns, picture, raw, section
from reports.ledger import Evidence
from reports.model import Block, Column, Heading, Line, Notice, Paragraph, Section, Table, line
from reports.numbers import DASH, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPLITS = {"test": "held-out", "all": "all"}
EFFECTS = columns(
    ("form", 0.7),
    ("entities", 0.75),
    ("base>", 1.45),
    ("tuned>", 1.45),
    ("change>", 1.5),
    ("lost share>", 1.5),
)
TESTS = columns(
    ("form", 0.8), ("entities", 0.8), ("items>", 0.6), ("to showing>", 0.8), ("to not>", 0.7),
    ("exact McNemar p>", 1.0), ("sign-flip p>", 0.9), ("q>", 0.8), ("equivalent", 0.9),
)  # fmt: skip


def behaviour_section(evidence: Evidence) -> Section:
    """Per suite: effects (from the ledger), flips and tests (from the stage's result)."""
    question = "Did the behaviour change, item by item, beyond what chance and the number of suites explain?"
    title = "Behaviour"
    result = evidence.result("behaviour")
    if result is None:
        return section("behaviour", title, question, [absent(evidence, "behaviour", "behaviour")])
    blocks: list[Block] = [_overview(evidence, result.suites), _paired(evidence, result.suites)]
    for suite in result.suites:
        blocks += _suite(evidence, suite)
    return section("behaviour", title, question, blocks)


def _overview(evidence: Evidence, suites: list[SuiteResult]) -> Block:
    from reports.figures import effects

    def draw() -> Figure | None:
        return effects.draw(suites) if any(suite.templates for suite in suites) else None

    return picture(
        "effects", "Effect of both models on held-out entities",
        "Base and tuned effect of every suite and prompt form, with intervals; the band about the base is "
        "where a change counts as none. The numbers are in the tables below.",
        evidence.source("behaviour", "result.json"), draw,
    )  # fmt: skip


def _paired(evidence: Evidence, suites: list[SuiteResult]) -> Block:
    from reports.figures import items

    def draw() -> Figure | None:
        frame = evidence.table("behaviour", "items", items.COLUMNS)
        found = [(s.name, items.pairs(frame, s.name, s.primary_template)) for s in suites]
        shown = [(name, pairs) for name, pairs in found if len(pairs)]
        return items.draw(shown) if shown else None

    return picture(
        "items", "Every held-out item: base against tuned",
        "Scatter of each item's score in the base and in the tuned model, in the form that carries the "
        "verdict; points off the diagonal changed, triangles changed sign.",
        lambda: evidence.source("behaviour", "items.parquet"), draw,
    )  # fmt: skip


def _suite(evidence: Evidence, suite: SuiteResult) -> list[Block]:
    name = f"behaviour/{suite.name}"
    blocks: list[Block] = [
        Heading(f"{suite.title} ({suite.name})"),
        Paragraph(line("Split-half reliability on the base: ", evidence.slot(f"{name}/reliability"), ".")),
    ]
    if not suite.measurable:
        why = line("Its reliability on the base is too low, or undefined: it cannot carry a verdict.")
        blocks.append(Notice("gap", f"Not measurable: {suite.name}", (why,)))
    rows = tuple(_effects(evidence, name, found) for found in suite.templates)
    blocks.append(Table(f"Effects, {suite.unit}, 95 % intervals", EFFECTS, rows))
    source = evidence.source("behaviour", "result.json")
    blocks.append(Table("Flips and tests", TESTS, tuple(_tests(found) for found in suite.templates), source))
    if metrics := [
        e for e in evidence.of(f"{name}/") if e.claim.id.removeprefix(f"{name}/") in suite.metrics
    ]:
        blocks.append(claims_table(evidence, "Scores of the suite's own kind", metrics))
    return blocks


def _effects(evidence: Evidence, name: str, found: TemplateResult) -> tuple[Line, ...]:
    at = f"{name}/{found.template}/{found.split}"
    slots = (evidence.slot(f"{at}/{what}") for what in ("base", "tuned", "change", "lost_share"))
    return (line(found.template), line(SPLITS[found.split]), *(line(slot) for slot in slots))


def _tests(found: TemplateResult) -> tuple[Line, ...]:
    flips = found.flips
    counts = (flips.items, flips.to_showing, flips.to_not_showing, flips.p_value, found.p_value)
    return (
        line(found.template), line(SPLITS[found.split]), *(raw(number(count)) for count in counts),
        line(DASH) if found.q_value is None else raw(number(found.q_value)),
        line("yes" if found.equivalent else "no"),
    )  # fmt: skip


def confounds_section(evidence: Evidence) -> Section:
    """Weights x template: the same table read across forms, and what could make a suite look as it does."""
    question = "Is it the weights, or the chat template, the wording or repeated items?"
    title = "Confounds"
    result = evidence.result("behaviour")
    if result is None:
        return section(
            "confounds", title, question, [absent(evidence, "behaviour", "weights against template")]
        )
    preflight = evidence.result("preflight")
    blocks: list[Block] = [_grid(evidence, suite) for suite in result.suites]
    rows = tuple(_duplicates(suite) for suite in result.suites)
    source = evidence.source("behaviour", "result.json")
    head: tuple[Column, ...] = columns(
        ("suite", 1.6),
        ("items>", 0.6),
        ("entities>", 0.7),
        ("near-duplicates>", 1.0),
        ("entity masked>", 1.0),
    )
    blocks.append(Table("Items that repeat one another", head, rows, source))
    warned = [*(preflight.warnings if preflight else []), *result.warnings]
    if warned:
        blocks.append(Notice("warning", "Warnings of the run", tuple(line(text) for text in warned)))
    if preflight is None:
        blocks.append(
            absent(evidence, "preflight", "whether the two models share template, dtype and attention")
        )
    return section("confounds", title, question, blocks)


def _grid(evidence: Evidence, suite: SuiteResult) -> Block:
    """Effects on held-out entities: a row per prompt form, a column per model."""
    held = [found for found in suite.templates if found.split == "test"]
    if len(held) < 2:
        why = line("Only one prompt form was asked, so weights and template cannot be told apart.")
        return Notice("gap", f"{suite.name}: weights x template", (why,))
    rows = []
    for found in held:
        at = f"behaviour/{suite.name}/{found.template}/test"
        rows.append(
            (line(found.template), line(evidence.slot(f"{at}/base")), line(evidence.slot(f"{at}/tuned")))
        )
    head = columns(("prompt form", 1.0), ("base weights>", 1.6), ("tuned weights>", 1.6))
    return Table(f"{suite.name}: weights x template, held-out entities", head, tuple(rows))


def _duplicates(suite: SuiteResult) -> tuple[Line, ...]:
    values = (suite.items, suite.entities, suite.near_duplicates, suite.near_duplicates_masked)
    return (line(suite.name), *(raw(number(value)) for value in values))
