"""What was seen when asking differently and inside the models: elicitation, directions, features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import (
    ArmResult,
    ConceptDirections,
    FeaturesResult,
    HookFeatures,
    SuiteElicitation,
)
from reports.content.parts import absent, claims_table, columns, not_part, picture, raw, section, sentences
from reports.ledger import Evidence
from reports.model import Block, Heading, Line, Section, Table, gap_notice, line
from reports.numbers import estimate, number, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reports.figures.bars import Bar

ARMS = columns(
    ("way of asking", 1.7), ("dose>", 0.5), ("control", 0.6), ("tuned asked so>", 1.0), ("recovered>", 1.8),
    ("beyond the base>", 1.8),
)  # fmt: skip
HEALTH = columns(
    ("hook", 2.0), ("latents>", 0.8), ("seeds>", 0.5), ("L0>", 0.6), ("dead>", 0.7),
    ("loss recovered, base>", 1.0), ("tuned>", 0.8),
)  # fmt: skip
MOST = 60
"""Rows of a table that may hold a row per latent; the Parquet table has all."""


def elicitation_section(evidence: Evidence) -> Section:
    """Whether plain prompting brings the behaviour back: read beside every white-box result."""
    question = "Does asking differently bring it back? A white-box finding must add to this."
    result = evidence.result("elicit")
    blocks: list[Block] = []
    if result is None:
        blocks.append(missing(evidence, "elicit", "elicitation"))
    else:
        blocks += sentences(evidence, evidence.of("elicit/"))
        for place, found in enumerate(result.suites):
            blocks += _asked(evidence, found, place)
    return section("elicitation", "Elicitation", question, blocks)


def missing(evidence: Evidence, stage: str, what: str) -> Block:
    """Why an optional stage's section is empty: this run left it out, or its kind never has it."""
    compare = evidence.manifest.kind == "compare"
    return absent(evidence, stage, what) if compare else not_part(evidence, what)


def _asked(evidence: Evidence, found: SuiteElicitation, place: int) -> list[Block]:
    if found.not_tried is not None:
        return [gap_notice(f"{found.suite}: not asked differently", line(found.not_tried))]
    from reports.figures import bars

    def draw() -> Figure | None:
        shown = [_bar(arm, arm.recovered) for arm in found.arms if arm.recovered is not None]
        return bars.draw(shown, "recovered share R (0: as tuned, 1: as the base)", 0.5) if shown else None

    source = evidence.source("elicit", "result.json")
    rows = tuple(_arm(arm) for arm in found.arms)
    said = "Recovered share of every way of asking, with intervals; grey diamonds ask for nothing."
    figure = picture(f"elicitation-{place}", f"{found.suite}: ways of asking", said, source, draw)
    blocks = [figure, Table(f"{found.suite}: every way of asking", ARMS, rows, source)]
    if found.skipped:
        blocks.append(gap_notice("Ways that could not be asked", *(line(text) for text in found.skipped)))
    return blocks


def _bar(arm: ArmResult, found: Estimate) -> Bar:
    from reports.figures.bars import Bar

    return Bar(f"{arm.arm} {arm.variant} {arm.dose:g}", found.value, found.low, found.high, arm.is_control)


def _arm(arm: ArmResult) -> tuple[Line, ...]:
    return (
        line(f"{arm.arm} {arm.variant}"),
        raw(number(arm.dose)),
        line("control" if arm.is_control else ""),
        raw(number(arm.b_arm)),
        raw(estimate(arm.recovered)),
        raw(estimate(arm.beyond_base)),
    )


def directions_section(evidence: Evidence) -> Section:
    """Whether the concept is still represented."""
    question = "Is the knowledge still there, on entities that no probe was trained on?"
    result = evidence.result("directions")
    blocks: list[Block] = []
    if result is None:
        blocks.append(missing(evidence, "directions", "directions"))
    else:
        blocks += sentences(evidence, evidence.of("directions/"))
        for place, found in enumerate(result.concepts):
            blocks.append(_concept(evidence, found, place))
    return section("directions", "Knowledge and directions", question, blocks)


def _concept(evidence: Evidence, found: ConceptDirections, place: int) -> Block:
    if found.chosen is None:
        return gap_notice(
            f"{found.suite}: no concept was probed", line(found.unreadable or "The suite has no concept.")
        )
    from reports.figures import directions

    position = found.chosen.position

    def draw() -> Figure | None:
        cells = evidence.table("directions", "directions", directions.COLUMNS)
        known = cells[(cells["suite"] == found.suite)]
        shown = position if (known["position"] == position).any() else next(iter(known["position"]), position)
        return directions.draw(cells, found.suite, shown) if len(known) else None

    said = (
        "Left: probe AUC by block for the base, the tuned model and shuffled classes. Right: cosine of the "
        "two models' directions with its split-half ceiling, where reliable."
    )
    source = evidence.source("directions", "directions.parquet")
    return picture(
        f"directions-{place}", f"{found.suite}: {found.concept}, layer by layer", said, source, draw
    )


def features_section(evidence: Evidence) -> Section:
    """What the dictionaries show."""
    question = "Which features changed, beyond what benign training of the same size changes?"
    result: FeaturesResult | None = evidence.result("features")
    if result is None:
        return section("features", "Features", question, [missing(evidence, "features", "features")])
    blocks: list[Block] = [_health(evidence, result)]
    for place, hook in enumerate(result.hooks):
        blocks += _hook(evidence, hook, place)
    if nulls := evidence.of("features/null/"):
        blocks += [Heading("The null: benign fine-tunes"), *sentences(evidence, nulls)]
    if result.not_measured:
        blocks.append(gap_notice("Not measured in this stage", *(line(text) for text in result.not_measured)))
    return section("features", "Features", question, blocks)


def _health(evidence: Evidence, result: FeaturesResult) -> Table:
    rows = tuple(_vitals(hook) for hook in result.hooks)
    return Table("Health of the dictionaries", HEALTH, rows, evidence.source("features", "result.json"))


def _vitals(hook: HookFeatures) -> tuple[Line, ...]:
    counts = (hook.latents, hook.seeds, hook.l0)
    shares = (hook.dead_share, *(*hook.recovered_ce, None, None)[:2])
    return (line(hook.hook), *(raw(number(one)) for one in counts), *(raw(share(one)) for one in shares))


def _hook(evidence: Evidence, hook: HookFeatures, place: int) -> list[Block]:
    from reports.figures import features

    def draw() -> Figure | None:
        latents = evidence.table("features", "features", features.COLUMNS)
        return features.draw(latents, hook.hook) if (latents["hook"] == hook.hook).any() else None

    name = f"features/{hook.hook}/"
    one_by_one = [e for e in evidence.of(name) if "/" in e.claim.id.removeprefix(name)]
    whole = [e for e in evidence.of(name) if "/" not in e.claim.id.removeprefix(name)]
    said = (
        "Firing rate of each latent in the base and in the tuned model; those whose kind changed are marked."
    )
    blocks: list[Block] = [
        Heading(hook.hook),
        picture(
            f"features-{place}", f"Latents of the {hook.dictionary}", said,
            evidence.source("features", "features.parquet"), draw,
        ),
        claims_table(evidence, "What the dictionary explains, and how many latents of each kind", whole),
    ]  # fmt: skip
    if one_by_one:
        table = claims_table(evidence, "Latents one by one", one_by_one[:MOST])
        blocks.append(table)
    if len(one_by_one) > MOST:
        more = line("Further latents are in the evidence index and in the table features.parquet.")
        blocks.append(gap_notice("The list is cut here", more))
    return blocks
