"""Where the switch sits in the weights, and what bypasses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.evidence.schema.results import (
    BehaviourBypass,
    BehaviourRelearning,
    BehaviourSwitches,
    BypassResult,
    BypassTrial,
    RelearnDose,
    RelearnResult,
    SwitchesResult,
)
from reports.content.inside import missing
from reports.content.parts import columns, picture, raw, section, sentences
from reports.ledger import Evidence
from reports.model import Block, Heading, Line, Notice, Paragraph, Section, Source, Table, gap_notice, line
from reports.numbers import NOT_MEASURED, estimate, number, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEARCH = columns(
    ("kind", 1.0), ("sets tried up to>", 1.0), ("smallest that would do>", 1.3), ("R on the fit half>", 1.2)
)
TRIALS = columns(
    ("way", 1.2), ("intervention", 2.4), ("R, held-out>", 1.6), ("controls: number, largest R>", 1.2),
    ("KL elsewhere>", 1.5), ("may support", 0.8),
)  # fmt: skip
WAYS = {
    "internal": "inside the tuned model",
    "revert": "with weights of the base",
    "reading_base": "with activations of the base",
    "latents": "at a dictionary's latents",
    "gates": "by learned gates",
    "rewire": "by a new wire",
}
RELEARNED = columns(
    ("steps>", 0.6), ("R, other entities>", 1.6), ("R, trained ones>", 1.1),
    ("classes never had: number, largest R>", 1.8),
)  # fmt: skip


def switches_section(evidence: Evidence) -> Section:
    """Attribution, grafts, and the smallest set of units that holds on held-out items."""
    question = (
        "Which weights hold the change, and does a small set of them hold on items that did not choose it?"
    )
    result: SwitchesResult | None = evidence.result("switches")
    if result is None:
        blocks: list[Block] = [missing(evidence, "switches", "switch location")]
        return section("switches", "Switch location", question, blocks)
    blocks = []
    for place, found in enumerate(result.behaviours):
        blocks += _located(evidence, found, place)
    if result.warnings:
        blocks.append(
            Notice("warning", "Warnings of this stage", tuple(line(text) for text in result.warnings))
        )
    return section("switches", "Switch location", question, blocks)


def _located(evidence: Evidence, found: BehaviourSwitches, place: int) -> list[Block]:
    head = Heading(found.name)
    if not found.searched:
        return [
            head,
            gap_notice(f"{found.name}: not searched", line(found.why_not or "no reason was recorded")),
        ]
    source = evidence.source("switches", "result.json")
    blocks: list[Block] = [head, *sentences(evidence, evidence.of(f"switches/{found.name}/"))]
    rows = tuple(_kind(found, one.kind) for one in found.kinds)
    blocks.append(Table(f"{found.name}: the search, kind by kind", SEARCH, rows, source))
    if found.set is not None:
        blocks.append(_members(found, source))
    blocks.append(_grafts(evidence, found, place))
    if found.notes:
        blocks.append(Notice("note", "Notes of the search", tuple(line(text) for text in found.notes)))
    return blocks


def _kind(found: BehaviourSwitches, kind: str) -> tuple[Line, ...]:
    one = next(k for k in found.kinds if k.kind == kind)
    size = line("none") if one.size == 0 else raw(number(one.size))
    return (line(one.kind), raw(number(one.tried)), size, raw(number(one.recovered)))


def _members(found: BehaviourSwitches, source: Source) -> Table:
    chosen = found.set.units if found.set else []
    rows = tuple((raw(number(place)), line(unit)) for place, unit in enumerate(chosen, start=1))
    head = columns(("#>", 0.3), ("unit, strongest attribution first", 4.0))
    return Table(f"{found.name}: members of the smallest set", head, rows, source)


def _grafts(evidence: Evidence, found: BehaviourSwitches, place: int) -> Block:
    from reports.figures import bars

    def draw() -> Figure | None:
        frame = evidence.table("switches", "grafts", ("behaviour", "module", "direction", "recovered"))
        own = frame[(frame["behaviour"] == found.name) & (frame["direction"] == "base into tuned")]
        ordered = own.sort_values("recovered", ascending=False, kind="stable").head(bars.MOST)
        shown = [
            bars.Bar(str(m), float(r), None, None)
            for m, r in zip(ordered["module"], ordered["recovered"], strict=True)
        ]
        return bars.draw(shown, "recovered share R, fit half") if shown else None

    said = "Recovered share when one module of the tuned model gets the base's weights, the largest first."
    source = evidence.source("switches", "grafts.parquet")
    return picture(f"grafts-{place}", f"{found.name}: one module of the base at a time", said, source, draw)


def bypass_section(evidence: Evidence) -> Section:
    """Interventions in the tuned model beside matched controls."""
    question = (
        "Does something inside the tuned model bring the behaviour back, more than matched controls do?"
    )
    result: BypassResult | None = evidence.result("bypass")
    if result is None:
        return section("bypass", "Bypass", question, [missing(evidence, "bypass", "bypass")])
    blocks: list[Block] = [_budgets(evidence, result)]
    for place, found in enumerate(result.behaviours):
        blocks += _behaviour(evidence, found, place)
    for found in result.in_base:
        blocks += _in_base(evidence, found)
    if result.not_measured:
        blocks.append(gap_notice("Not measured in this stage", *(line(text) for text in result.not_measured)))
    return section("bypass", "Bypass", question, blocks)


def _budgets(evidence: Evidence, result: BypassResult) -> Table:
    head = columns(("budget", 3.0), ("value>", 1.0))
    rows = (
        (line("KL on unrelated text, nats per token, at most"), raw(number(result.kl_budget))),
        (line("share of next tokens still predicted right, at least"), raw(number(result.skills_budget))),
        (line("controls without which nothing counts, at least"), raw(number(result.least_random))),
    )
    return Table("What an intervention may cost", head, rows, evidence.source("bypass", "result.json"))


def _behaviour(evidence: Evidence, found: BehaviourBypass, place: int) -> list[Block]:
    own = [e for e in evidence.of(f"bypass/{found.name}/") if "/in-base/" not in e.claim.id]
    blocks: list[Block] = [Heading(found.name), *sentences(evidence, own), _doses(evidence, found, place)]
    return [*blocks, *_chosen(evidence, found, found.name)]


def _in_base(evidence: Evidence, found: BehaviourBypass) -> list[Block]:
    """Of a behaviour that rose: whether the base could have shown it all along."""
    name = f"{found.name}, inside the base"
    blocks: list[Block] = [Heading(name), *sentences(evidence, evidence.of(f"bypass/{found.name}/in-base/"))]
    return [*blocks, *_chosen(evidence, found, name)]


def _chosen(evidence: Evidence, found: BehaviourBypass, name: str) -> list[Block]:
    trials = [(way, getattr(found, way)) for way in WAYS]
    rows = tuple(_trial(way, trial) for way, trial in trials if trial is not None)
    source = evidence.source("bypass", "result.json")
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(f"{name}: what the fit half chose, read on held-out items", TRIALS, rows, source))
    why = [
        line(f"{_way(way)}: {text}") for way, trial in trials if trial is not None for text in trial.why_not
    ]
    if why:
        blocks.append(Notice("note", f"{name}: why an intervention does not count", tuple(why)))
    if found.not_measured:
        blocks.append(gap_notice(f"{name}: not measured", *(line(text) for text in found.not_measured)))
    if not rows:
        blocks.append(Paragraph(line("No intervention was chosen on the fit half.")))
    return blocks


def _trial(way: str, trial: BypassTrial) -> tuple[Line, ...]:
    largest = (
        "none" if trial.random_max is None else f"{number(trial.random_sets)}, {share(trial.random_max)}"
    )
    recovered = "broke the model" if trial.recovered is None else estimate(trial.recovered)
    cost = NOT_MEASURED if trial.off_target_kl is None else estimate(trial.off_target_kl)
    what = f"{trial.intervention} {trial.description}, dose {number(trial.dose)}"
    return (
        line(_way(way)),
        line(what),
        line(recovered),
        line(largest),
        raw(cost),
        line("yes" if trial.may_support else "no"),
    )


def _way(name: str) -> str:
    return WAYS.get(name, name.replace("_", " "))


def _doses(evidence: Evidence, found: BehaviourBypass, place: int) -> Block:
    from reports.figures import doses

    def draw() -> Figure | None:
        shown = doses.panels(evidence.table("bypass", "doses", doses.COLUMNS), found.name)
        return doses.draw(shown) if shown else None

    said = "Recovered share by dose, an intervention a panel, held-out items; grey diamonds are controls."
    source = evidence.source("bypass", "doses.parquet")
    return picture(
        f"doses-{place}", f"{found.name}: dose-response beside matched controls", said, source, draw
    )


def relearn_section(evidence: Evidence) -> Section:
    """What a few steps of training bring back on entities that were not trained on."""
    question = "How fast does training on some entities bring the behaviour back on others?"
    result: RelearnResult | None = evidence.result("relearn")
    if result is None:
        return section("relearn", "Relearning", question, [missing(evidence, "relearn", "relearning")])
    blocks: list[Block] = [_training(evidence, result)]
    for found in result.behaviours:
        blocks += _relearned(evidence, found)
    return section("relearn", "Relearning", question, blocks)


def _training(evidence: Evidence, result: RelearnResult) -> Table:
    rows = (
        (
            line("rate of AdamW where the model is 96 wide; elsewhere times 96 / width"),
            raw(number(result.rate)),
        ),
        (line("items per step, at least"), raw(number(result.items_per_step))),
    )
    head = columns(("training", 3.0), ("value>", 1.0))
    return Table("How it is taught", head, rows, evidence.source("relearn", "result.json"))


def _relearned(evidence: Evidence, found: BehaviourRelearning) -> list[Block]:
    head = Heading(found.name)
    if found.not_tried is not None:
        return [head, gap_notice(f"Not measured: {found.name}", line(f"{found.not_tried}."))]
    rows = tuple(_dose(dose) for dose in found.doses)
    title = f"{found.name}: the {found.lacking} model trained on {number(found.items)} items of one half"
    blocks: list[Block] = [head, *sentences(evidence, evidence.of(f"relearn/{found.name}/"))]
    blocks.append(Table(title, RELEARNED, rows, evidence.source("relearn", "result.json")))
    if found.weaker is not None:
        blocks.append(Notice("note", f"{found.name}: this says less than usual", (line(f"{found.weaker}."),)))
    return blocks


def _dose(dose: RelearnDose) -> tuple[Line, ...]:
    held = "broke the model" if dose.recovered is None else estimate(dose.recovered)
    largest = "none" if dose.control is None else f"{number(len(dose.controls))}, {share(dose.control)}"
    on_fit = NOT_MEASURED if dose.recovered_fit is None else share(dose.recovered_fit)
    return (raw(number(dose.steps)), raw(held), raw(on_fit), raw(largest))
