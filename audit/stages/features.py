"""Which features changed? A dictionary of both models, and every latent held against nulls.

Main path: the corpus -> activations of both models -> benign nulls -> dictionaries, one per seed -> one
streaming pass -> effects on the behaviours that changed -> kinds -> tables. Long parts are kept until the
stage is done, so that a killed run goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from audit.errors import AuditError
from audit.evidence.schema.results import BehaviourResult, FeaturesResult, HookFeatures
from audit.evidence.stage import StageFolder
from audit.features.source import dictionary_source, hook_layers
from audit.inputs import AuditInputs
from audit.stages.changed import changed

if TYPE_CHECKING:
    import pandas as pd

    from audit.corpora import Corpus
    from audit.features.summary import JudgedHook, Work

ACTIVATIONS = "activations"


def run(
    audit: AuditInputs,
    folder: StageFolder,
    corpus: Corpus | None = None,
    *,
    behaviours: BehaviourResult | None = None,
) -> FeaturesResult:
    """Harvests, trains, tests and describes.

    Writes `features`, `latent_effects`, `examples`, `logits` and the dictionaries.

    Args:
        audit: settings and models.
        folder: where the stage writes.
        corpus: the text; by default that of the settings.
        behaviours: what changed; without it no latent can be called silenced.

    Raises:
        AuditError: the settings ask for what is not there, or the text is too short.
    """
    with _room_errors():
        return _run(audit, folder, corpus, behaviours)


def _run(
    audit: AuditInputs, folder: StageFolder, corpus: Corpus | None, behaviours: BehaviourResult | None
) -> FeaturesResult:
    from audit import corpora
    from audit.features.activations import Reading, harvested
    from audit.features.dictionaries import opened
    from audit.features.effects import measured_effects
    from audit.features.judge import judge, read_hook
    from audit.features.null import make_nulls
    from audit.features.summary import Work, not_measured

    source = dictionary_source(audit.config.dictionary)
    given, facts = None, audit.preflight
    if source.kind != "train":
        given = opened(source, facts.width, audit.config.device)
    hook_name = None if given is None else given.hook_name
    layers = hook_layers(audit.config.layer, audit.preset.hook_points, facts.layers, source, hook_name)
    text = corpus or corpora.corpus(audit, folder.parts / "corpus")
    reading = Reading(text.documents, layers, audit.config.batch_size)
    key = {"corpus": text.sha256, "layers": list(layers)}
    store = harvested(
        audit.pair, reading, folder.parts / ACTIVATIONS, key,
        title="Reading the text with both models", progress=audit.progress,
    )  # fmt: skip
    nulls = make_nulls(audit, reading, given, folder.parts)
    work = Work(audit, folder, reading, given, store, nulls)
    passes = [read_hook(work, place) for place in range(len(layers))]
    found = changed(audit, behaviours)
    effects = measured_effects(audit, folder, found, {one.layer: one.made[0].dictionary for one in passes})
    folder.write_table("latent_effects", effects)
    hooks = _write(work, [judge(work, one, effects, found) for one in passes])
    if audit.config.keep_activations:
        shutil.copytree(folder.parts / ACTIVATIONS, folder.path / ACTIVATIONS)
    effects_on = [one.name for one in found]
    return FeaturesResult(
        hooks=hooks,
        nulls=nulls.facts,
        tokens=store.stats.kept,
        documents=store.stats.documents,
        masked={"first": store.stats.first, "role": store.stats.role, "outlier": store.stats.outlier},
        role_shares=dict(store.stats.shares),
        effects_on=effects_on,
        not_measured=[*not_measured(work, hooks), *_without_effects(behaviours, effects_on, effects)],
    )


def _without_effects(
    behaviours: BehaviourResult | None, effects_on: list[str], effects: pd.DataFrame
) -> list[str]:
    """Sentences: why no latent can be called silenced, if so."""
    if behaviours is None:
        return ["No behaviour was measured, so no latent can be called silenced."]
    if not effects_on:
        return ["No behaviour is shown to have changed, so there is no effect that a latent could have lost."]
    if len(effects) and effects["q_value"].isna().all():
        return ["Too few entities to test what latents write, so none can be called silenced."]
    return []


def _write(work: Work, hooks: list[JudgedHook]) -> list[HookFeatures]:
    """The tables of all hook points, the dictionaries, and what the result says of each."""
    import pandas as pd

    from audit.features.describe import chosen_latents, examples_of, logits_of
    from audit.features.frames import features_frame
    from audit.features.judge import DICTIONARIES
    from audit.features.summary import summary

    folder, described, examples, logits = work.folder, list[int](), list[pd.DataFrame](), list[pd.DataFrame]()
    for hook in hooks:
        chosen = chosen_latents(hook.judged, hook.live, work.audit.config.seed)
        described.append(len(chosen))
        examples.append(examples_of(work, hook, chosen))
        logits.append(logits_of(work, hook, chosen))
    tables = {"features": [features_frame(hook.judged) for hook in hooks]}
    tables |= {"examples": examples, "logits": logits}
    for name, frames in tables.items():
        folder.write_table(name, pd.concat(frames, ignore_index=True))
    if work.given is None:
        shutil.copytree(folder.parts / DICTIONARIES, folder.path / DICTIONARIES, dirs_exist_ok=True)
    return [summary(work, hook, count) for hook, count in zip(hooks, described, strict=True)]


@contextmanager
def _room_errors() -> Iterator[None]:
    """Shows errors of the rooms below as the user's."""
    from sae.errors import SAEError
    from training.errors import TrainingError

    try:
        yield
    except (SAEError, TrainingError) as error:
        raise AuditError(error.problem, where=error.where, fix=error.fix) from error
