"""How far the model moved at all: along sampled text, and in its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.evidence.schema.results import DriftResult
from reports.content.inside import missing
from reports.content.parts import columns, picture, raw, section, sentences
from reports.ledger import Evidence
from reports.model import Block, Heading, Line, Section, Table, line
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
