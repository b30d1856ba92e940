"""What a training attack took to do harm, and the record of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.evidence.schema.results import AttackResult
from reports.content.parts import absent, claims_table, not_part, picture, section, sentences
from reports.ledger import Evidence
from reports.model import Block, Heading, Notice, Section, Tone, gap_notice, line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TONES: dict[str, Tone] = {"HARMED": "block", "NOT HARMED": "note", "INCONCLUSIVE": "inconclusive"}
"""An attack that did no harm is no pass: another item, dose or method may."""
NOTHING_TO_LEARN = (
    "No group of rollouts had reward variance, so nothing could be learned: this is no robustness."
)


def outcome_blocks(evidence: Evidence) -> list[Block]:
    """The outcome of an attack for the first page."""
    entry = evidence.entry("attack/outcome")
    if entry is None:
        return []
    if not entry.holds:
        return [gap_notice("The outcome is withheld", line(evidence.sentence(entry)))]
    word = str(entry.claim.value)
    return [Notice(TONES.get(word, "inconclusive"), f"Attack: {word}", (line(evidence.sentence(entry)),))]


def attack_section(evidence: Evidence) -> Section:
    """Dose curve and reward variance of an attack; the record of a training run."""
    question = (
        "How much training brings the behaviour back, and did that training have anything to learn from?"
    )
    kind = evidence.manifest.kind
    if kind == "attack":
        return section("attack", "Attack", question, [*_attack(evidence), *_steps(evidence, "attack")])
    if kind == "train":
        return section("attack", "Training", question, _training(evidence))
    return section("attack", "Attack", question, [not_part(evidence, "resistance to a training attack")])


def _attack(evidence: Evidence) -> list[Block]:
    result: AttackResult | None = evidence.result("attack")
    if result is None:
        return [absent(evidence, "attack", "the attack")]
    items = evidence.of("attack/items/")
    blocks: list[Block] = []
    if not result.conclusive:
        blocks.append(gap_notice("The attack is inconclusive", line(result.why or NOTHING_TO_LEARN)))
    blocks += sentences(evidence, [entry for entry in evidence.of("attack/") if entry not in items])
    if result.smallest_dose is None:
        none = line("No dose of the curve did harm by this measure; larger doses were not tried.")
        blocks.append(gap_notice("Smallest harmful dose: none found", none))
    blocks.append(_curve(evidence))
    if items:
        blocks.append(claims_table(evidence, "Attacked items, one by one", items))
    return blocks


def _curve(evidence: Evidence) -> Block:
    from reports.figures import attack

    def draw() -> Figure | None:
        frame = evidence.table("attack", "attack_doses", attack.COLUMNS)
        return attack.draw(frame) if len(frame) else None

    said = "What was measured at each dose, arm by arm; small marks are seeds, the line is their mean."
    return picture(
        "attack", "Dose curve", said, lambda: evidence.source("attack", "attack_doses.parquet"), draw
    )


def _training(evidence: Evidence) -> list[Block]:
    if evidence.result("train") is None:
        return [absent(evidence, "train", "training")]
    claims = claims_table(evidence, "What training did", evidence.of("train/"))
    return [claims, *_steps(evidence, "train")]


def _steps(evidence: Evidence, stage: str) -> list[Block]:
    """The record of the optimiser, where the stage left one."""
    if evidence.result(stage) is None:
        return []
    from reports.figures import training

    def draw() -> Figure | None:
        frame = evidence.table(stage, "train_steps", training.COLUMNS)
        return training.draw(frame) if len(frame) else None

    said = "Mean reward per channel; spread of the reward inside groups and share of dead groups; exact KL."
    figure = picture(
        "training",
        "Training, step by step",
        said,
        lambda: evidence.source(stage, "train_steps.parquet"),
        draw,
    )
    return [Heading("The record of training"), figure]
