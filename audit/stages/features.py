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
from audit.stages.changed import Changed, changed

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from audit.corpora import Corpus
    from audit.features.activations import HookStream
    from audit.features.dictionaries import Made
    from audit.features.frames import Judged
    from audit.features.summary import JudgedHook, Pass, Work

STRONGEST, SAMPLED, MOST = 20, 20, 120
"""Latents that get examples and logits, besides the candidates: the highest scores, and a random sample; at
most so many in all."""
DICTIONARIES, ACTIVATIONS = "dictionaries", "activations"


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
    from audit.features.effects import measured_effects
    from audit.features.null import make_nulls
    from audit.features.summary import Work, not_measured

    source = dictionary_source(audit.config.dictionary)
    layers = hook_layers(audit.config.layer, audit.preset.hook_points, audit.preflight.layers, source)
    text = corpus or corpora.corpus(audit, folder.parts / "corpus")
    reading = Reading(text.documents, layers, audit.config.batch_size)
    key = {"corpus": text.sha256, "layers": list(layers)}
    store = harvested(
        audit.pair, reading, folder.parts / ACTIVATIONS, key,
        title="Reading the text with both models", progress=audit.progress,
    )  # fmt: skip
    nulls = make_nulls(audit, reading, source, folder.parts)
    work = Work(audit, folder, reading, source, store, nulls)
    passes = [_pass(work, place) for place in range(len(layers))]
    found = changed(audit, behaviours)
    effects = measured_effects(audit, folder, found, {one.layer: one.made[0].dictionary for one in passes})
    folder.write_table("latent_effects", effects)
    hooks = _write(work, [_judge(work, one, effects, found) for one in passes])
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


def _pass(work: Work, place: int) -> Pass:
    """Dictionaries of every seed, and one pass over the activations with the first."""
    from audit.features.activations import HookStream
    from audit.features.summary import Pass
    from sae.features import latent_statistics
    from sae.types import HookPoint

    layer = work.reading.layers[place]
    stream = HookStream(work.store, place, work.audit.config.seed)
    made = _dictionaries(work, stream, layer)
    dictionary = made[0].dictionary
    tokens = sum(shard.tokens for shard in work.store.shards)
    with work.audit.progress.task(f"Measuring the latents of {HookPoint(layer).name}", tokens) as advance:
        found = latent_statistics(stream, dictionary, joint=dictionary.joint, progress=advance)
    return Pass(layer, stream, made, found)


def _judge(work: Work, one: Pass, effects: pd.DataFrame, behaviours: list[Changed]) -> JudgedHook:
    """What the latents of one hook point are."""
    from audit.features.effects import effects_of, largest_change
    from audit.features.frames import Judged
    from audit.features.summary import JudgedHook
    from sae import features as f
    from sae.types import HookPoint

    found, name = one.statistics, HookPoint(one.layer).name
    scaling, alive = f.latent_scaling(found), f.live(found)
    others = [made.dictionary.decoder_FMD.detach().float().cpu() for made in one.made[1:]]
    bar = f.rotation_bar(found.decoder_FMD, others, alive)
    recurring = f.recurrence([f.matches(found.decoder_FMD, other) for other in others])
    q_values = f.against_nulls(found, scaling, alive, work.nulls.samples.get(one.layer))
    mine = effects[effects["hook"] == name]
    lost = effects_of(mine, len(alive), behaviours)
    kinds = f.classify(found, q_values.q_F, lost, scaling=scaling, thresholds=f.Thresholds(cosine=bar))
    largest = largest_change(lost, len(alive))
    judged = Judged(name, found, scaling, kinds, q_values, recurring, largest)
    return JudgedHook(one.layer, one.stream, one.made, judged, bar, alive, mine)


def _dictionaries(work: Work, stream: HookStream, layer: int) -> list[Made]:
    from audit.features.dictionaries import dictionary_config, loaded, trained
    from sae.types import HookPoint

    audit, device = work.audit, work.audit.config.device
    if work.source.kind != "train":
        return [loaded(work.source, stream, device)]
    made = []
    for number in range(audit.preset.dictionary_seeds):
        seed = audit.config.seed + number
        config = dictionary_config(work.source.name, audit.preset, seed=seed, device=device)
        folder = work.folder.parts / DICTIONARIES / HookPoint(layer).name / f"seed-{seed}"
        title = f"Training dictionary {number + 1} of {audit.preset.dictionary_seeds}"
        own = type(stream)(stream.store, stream.place, seed)
        made.append(trained(own, config, folder, title=title, progress=audit.progress))
    return made


def _write(work: Work, hooks: list[JudgedHook]) -> list[HookFeatures]:
    """The tables of all hook points, the dictionaries, and what the result says of each."""
    import pandas as pd

    from audit.features.frames import features_frame
    from audit.features.summary import summary

    folder, described, examples, logits = work.folder, list[int](), list[pd.DataFrame](), list[pd.DataFrame]()
    for hook in hooks:
        chosen = chosen_latents(hook.judged, hook.live, work.audit.config.seed)
        described.append(len(chosen))
        examples.append(_examples(work, hook, chosen))
        logits.append(_logits(work, hook, chosen))
    tables = {"features": [features_frame(hook.judged) for hook in hooks]}
    tables |= {"examples": examples, "logits": logits}
    for name, frames in tables.items():
        folder.write_table(name, pd.concat(frames, ignore_index=True))
    if work.source.kind == "train":
        shutil.copytree(folder.parts / DICTIONARIES, folder.path / DICTIONARIES, dirs_exist_ok=True)
    return [summary(work, hook, count) for hook, count in zip(hooks, described, strict=True)]


def chosen_latents(judged: Judged, live: Tensor, seed: int) -> Tensor:
    """Latents to describe: candidates by score, the strongest scores, and a sample of the live ones."""
    import torch

    from sae.features import SILENT, SWITCHED, switch_score

    score = switch_score(judged.statistics, judged.scaling).masked_fill(~live, -1.0)
    ranked = score.argsort(descending=True, stable=True).tolist()
    alive = [latent for latent in ranked if live[latent]]
    picked = [latent for latent in alive if judged.kinds.candidate[latent] in (*SWITCHED, SILENT)]
    drawn = torch.randperm(len(alive), generator=torch.Generator().manual_seed(seed)).tolist()
    sample = [alive[i] for i in drawn[:SAMPLED]]
    wanted = [*sample, *picked, *alive[:STRONGEST]]
    return torch.tensor(sorted(dict.fromkeys(wanted[:MOST])), dtype=torch.long)


def _examples(work: Work, hook: JudgedHook, chosen: Tensor) -> pd.DataFrame:
    from audit.features.frames import examples_frame
    from sae.features import collect_examples

    dictionary, audit = hook.made[0].dictionary, work.audit
    tokens = sum(shard.tokens for shard in work.store.shards)
    with audit.progress.task(f"Collecting examples of {len(chosen)} latents", tokens) as advance:
        found = collect_examples(
            hook.stream,
            dictionary,
            chosen,
            joint=dictionary.joint,
            seed=audit.config.seed,
            progress=advance,
        )
    return examples_frame(hook.judged.hook, found, work.reading.documents, audit.pair.tokenizer("tuned"))


def _logits(work: Work, hook: JudgedHook, chosen: Tensor) -> pd.DataFrame:
    import pandas as pd

    from audit.features.frames import logits_rows
    from sae.types import SIDES

    rows = []
    for side in SIDES:
        with work.audit.pair.model(side) as model:
            tokenizer = work.audit.pair.tokenizer(side)
            decoder = hook.judged.statistics.decoder_FMD
            rows += logits_rows(hook.judged.hook, side, model, chosen, decoder, tokenizer)
    return pd.DataFrame(rows, columns=["hook", "latent", "model", "sign", "rank", "token", "value"])


@contextmanager
def _room_errors() -> Iterator[None]:
    """Shows errors of the rooms below as the user's."""
    from sae.errors import SAEError
    from training.errors import TrainingError

    try:
        yield
    except (SAEError, TrainingError) as error:
        raise AuditError(error.problem, where=error.where, fix=error.fix) from error
