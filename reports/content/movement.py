"""How far the model moved at all, and what training or an attack did to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.evidence.schema.results import DriftResult
from reports.content.inside import missing
from reports.content.parts import absent, claims_table, columns, not_part, picture, raw, section, sentences
from reports.ledger import Evidence, UnreadableError
from reports.model import Block, Heading, Line, Section, Table, gap_notice, line
from reports.numbers import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOOR = columns(("quantity", 3.0), ("value>", 1.4))


def drift_section(evidence: Evidence) -> Section:
    """Divergence along sampled text with its noise floor, and the weights."""
    question = "How far did the model move, compared with reloading the same model?"
    result: DriftResult | None = evidence.result("drift")
    blocks: list[Block] = []
    if result is None:
        blocks.append(missing(evidence, "drift", "drift"))
    else:
        blocks += [
            *sentences(evidence, evidence.of("drift/")),
            _curve(evidence, result),
            _floor(evidence, result),
        ]
    blocks.append(Heading("Weights"))
    if evidence.result("weights") is None:
        blocks.append(missing(evidence, "weights", "how much of the weights moved"))
    else:
        blocks += [*sentences(evidence, evidence.of("weights/")), _weights(evidence)]
    return section("drift", "Drift", question, blocks)


def _curve(evidence: Evidence, result: DriftResult) -> Block:
    from reports.figures import drift

    said = "Cumulative KL along sampled sequences, both directions, with intervals; dashed: the noise floor."
    source = evidence.source("drift", "result.json")
    return picture("drift", "Divergence along sampled text", said, source, lambda: drift.draw(result))


def _floor(evidence: Evidence, result: DriftResult) -> Table:
    floor = result.noise_floor
    rows: list[tuple[Line, ...]] = [
        (line(f"noise floor: the base reloaded in {floor.dtype}, upper end, nats"), raw(number(floor.upper))),
        (line("largest next-token KL of any step of the floor, nats"), raw(number(floor.largest_step))),
        (line("sampled sequences per direction"), raw(number(result.sequences))),
        (line("tokens per sequence"), raw(number(result.new_tokens))),
    ]
    for name, found in (("from the base", result.forward), ("from the tuned model", result.reverse)):
        rows.append((line(f"KL per token, prefixes {name}, nats"), raw(number(found.per_token))))
        rows.append(
            (line(f"tokens above the outlier threshold, prefixes {name}"), raw(number(found.outliers)))
        )
    return Table("Drift and its floor", FLOOR, tuple(rows), evidence.source("drift", "result.json"))


def _weights(evidence: Evidence) -> Block:
    from reports.figures import weights

    def draw() -> Figure | None:
        layers = weights.by_layer(evidence.table("weights", "weights", weights.COLUMNS))
        return weights.draw(layers) if len(layers) else None

    said = (
        "Norm of the weight change over the norm of the base's weights, by block, a line per kind of module."
    )
    source = evidence.source("weights", "weights.parquet")
    return picture("weights", "Relative change of the weights", said, source, draw)


def attack_section(evidence: Evidence) -> Section:
    """Dose curve and reward variance of an attack; the record of a training run."""
    question = (
        "How much training brings the behaviour back, and did that training have anything to learn from?"
    )
    kind = evidence.manifest.kind
    blocks: list[Block]
    if kind == "attack":
        blocks = _attack(evidence)
    elif kind == "train":
        blocks = _training(evidence, "train")
    else:
        blocks = [not_part(evidence, "resistance to a training attack")]
    title = "Training" if kind == "train" else "Attack"
    return section("attack", title, question, blocks)


def _attack(evidence: Evidence) -> list[Block]:
    result = evidence.result("attack")
    if result is None:
        return [absent(evidence, "attack", "the attack")]
    from reports.figures import attack

    def draw() -> Figure | None:
        frame = evidence.table("attack", "attack_doses", attack.COLUMNS)
        return attack.draw(frame) if len(frame) else None

    said = "What was measured at each dose, arm by arm; small marks are seeds, the line is their mean."
    blocks: list[Block] = []
    if not result.conclusive:
        why = line(
            "No group of rollouts had reward variance, so nothing could be learned: this is no robustness."
        )
        blocks.append(gap_notice("The attack is inconclusive", why))
    blocks.append(claims_table(evidence, "What the attack found", evidence.of("attack/")))
    dose, table = result.smallest_dose, evidence.source("attack", "attack_doses.parquet")
    if dose is None:
        blocks.append(gap_notice("Smallest harmful dose: none found", line("No dose of the curve did harm.")))
    else:
        from reports.numbers import estimate

        row = (line("smallest dose that did harm, optimiser steps"), raw(estimate(dose)))
        blocks.append(Table("Dose", FLOOR, (row,), evidence.source("attack", "result.json")))
    blocks.append(picture("attack", "Dose curve", said, table, draw))
    return [*blocks, *_training(evidence, "attack")]


def _training(evidence: Evidence, stage: str) -> list[Block]:
    if evidence.result(stage) is None:
        return [absent(evidence, stage, "training")]
    from reports.figures import training

    def draw() -> Figure | None:
        frame = evidence.table(stage, "train_steps", training.COLUMNS)
        return training.draw(frame) if len(frame) else None

    said = "Mean reward per channel; spread of the reward inside groups and share of dead groups; exact KL."
    try:
        source = evidence.source(stage, "train_steps.parquet")
    except OSError as error:
        return [gap_notice("No training record", line(str(UnreadableError(error.strerror or "unreadable"))))]
    claims = [claims_table(evidence, "What training did", evidence.of("train/"))] if stage == "train" else []
    return [*claims, picture("training", "Training, step by step", said, source, draw)]
