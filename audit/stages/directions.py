"""Is the knowledge still there? The concept of each suite, probed inside both models on held-out entities."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import pandas as pd

from audit.behaviours.suite import Suite
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import BehaviourResult, ConceptDirections, DirectionsResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.presets import PresetName
from audit.verdict.seen import seen_in

if TYPE_CHECKING:
    from audit.directions.read import Reading

Side = Literal["base", "tuned"]

STEP: dict[PresetName, int] = {"quick": 5, "standard": 2, "deep": 1}
"""Every how many-th block is read."""
SHUFFLES: dict[PresetName, int] = {"quick": 40, "standard": 100, "deep": 200}
"""Random-label probes behind each null."""
OTHER_SHUFFLES: dict[PresetName, int] = {"quick": 0, "standard": 20, "deep": 40}
"""Of these, those on which the slower probes are fit too: the null of the largest AUC of all probes."""
BOTH: tuple[Side, Side] = ("base", "tuned")
EXCHANGED: tuple[Side, Side] = ("tuned", "base")
FEW = 6
"""Blocks that are read at least, where the model has them."""


def run(
    audit: AuditInputs, folder: StageFolder, behaviours: BehaviourResult | None = None
) -> DirectionsResult:
    """Reads, probes and compares the concepts one by one (each part survives a kill).

    Args:
        audit: the pair and its suites.
        folder: where the table goes.
        behaviours: what changed; the concepts of behaviours that rose are probed once more, with base and
            tuned model in each other's place.
    """
    with audit.pair.model("base") as model:
        layers = layers_of(model.config.get_text_config().num_hidden_layers, audit.config.preset)
    rose = {one.name for one in behaviours.suites if seen_in(one).moved == "rose"} if behaviours else set()
    found, frames, in_base = [], [], []
    for suite in audit.suites:
        known, name = describe(suite), suite.card.name
        if known.unreadable is None:
            rows = folder.part(name, "directions", partial(_rows, audit, suite, layers, BOTH))
            frames.append(rows)
            if name in rose:
                again = partial(_rows, audit, suite, layers, EXCHANGED)
                turned = folder.part(f"{name}-in-base", "directions", again)
                in_base.append(_summarised(suite, audit, known, turned))
            known = _summarised(suite, audit, known, rows)
        found.append(known)
    folder.write_table("directions", pd.concat(frames, ignore_index=True) if frames else _no_rows())
    shuffles = SHUFFLES[audit.config.preset]
    return DirectionsResult(concepts=found, in_base=in_base, layers=list(layers), shuffles=shuffles)


def layers_of(blocks: int, preset: PresetName) -> tuple[int, ...]:
    """Blocks to read, evenly by the preset's step but at least `FEW`, and always the last."""
    step = max(1, min(STEP[preset], blocks // FEW))
    return tuple(sorted({*range(0, blocks, step), blocks - 1}))


def describe(suite: Suite) -> ConceptDirections:
    """What is known of a suite's concept before any model is opened."""
    from audit.directions.cells import Entities, unreadable

    concept, name = suite.concept, suite.card.name
    if concept is None or not concept.texts:
        return ConceptDirections(suite=name, concept=None, unreadable=unreadable(concept))
    entities = Entities.of(concept)
    return ConceptDirections(
        suite=name,
        concept=concept.name,
        label_a=concept.label_a,
        label_b=concept.label_b,
        texts=len(concept.texts),
        entities_train=int(entities.train.sum()),
        entities_test=int((~entities.train).sum()),
        unreadable=unreadable(concept),
    )


def _summarised(
    suite: Suite, audit: AuditInputs, known: ConceptDirections, rows: pd.DataFrame
) -> ConceptDirections:
    from audit.directions.read import tokens_of
    from audit.directions.summary import summarise

    tokenizer = audit.pair.tokenizer("base")
    texts = suite.concept.texts if suite.concept else ()
    missing = sum(tokens_of(tokenizer, text).entity is None for text in texts)
    return summarise(known.model_copy(update={"texts_without_entity": missing}), rows)


def _rows(
    audit: AuditInputs, suite: Suite, layers: tuple[int, ...], sides: tuple[Side, Side]
) -> pd.DataFrame:
    from audit.directions.cells import Effort, concept_rows

    if suite.concept is None:
        raise ValueError(f"{suite.card.name} has no concept")
    base, tuned = (_read(audit, suite, layers, side) for side in sides)
    preset = audit.config.preset
    effort = Effort(SHUFFLES[preset], OTHER_SHUFFLES[preset], audit.preset.draws, audit.config.seed)
    title, cells = f"{suite.concept.name}: probes", len(base.positions) * len(base.layers)
    with audit.progress.task(title, cells) as advance:
        return concept_rows(suite.card.name, suite.concept, base, tuned, effort, progress=advance)


def _read(audit: AuditInputs, suite: Suite, layers: tuple[int, ...], side: Side) -> Reading:
    from audit.directions.read import read_concept

    if suite.concept is None:
        raise ValueError(f"{suite.card.name} has no concept")
    title = f"{suite.concept.name}: reading the {side} model"
    with (
        audit.progress.task(title, len(suite.concept.texts)) as advance,
        audit.pair.model(side) as model,
    ):
        return read_concept(
            model,
            audit.pair.tokenizer(side),
            suite.concept,
            layers,
            batch_size=audit.config.batch_size,
            progress=advance,
        )


def _no_rows() -> pd.DataFrame:
    rows: pd.DataFrame = TABLES["directions"].arrow.empty_table().to_pandas()
    return rows
