"""What the stage's result says of a hook point, and of what was not measured."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pandas as pd
from torch import Tensor

from audit.evidence.schema.results import FoundLatent, HookFeatures, SilencedLatent
from audit.evidence.stage import StageFolder
from audit.features.activations import HELD_OUT, HookStream, Reading
from audit.features.dictionaries import Made, reads_difference
from audit.features.frames import Judged
from audit.features.null import Nulls
from audit.features.source import dictionary_source
from audit.inputs import AuditInputs
from sae.dictionaries import AnyDictionary, PairLoss, spliced_loss
from sae.features import LEVEL, SILENT, SWITCHED, LatentStatistics, least_findings, switch_score
from sae.store import Store
from sae.types import HookPoint

SPLICED = 50
"""One token in so many of the corpus is spent on the loss recovered."""


class Work(NamedTuple):
    """What the hook points share."""

    audit: AuditInputs
    folder: StageFolder
    reading: Reading
    given: AnyDictionary | None
    """The dictionary, if it was loaded and not trained."""
    store: Store
    nulls: Nulls


class Pass(NamedTuple):
    """One hook point, its activations read once."""

    layer: int
    stream: HookStream
    made: list[Made]
    statistics: LatentStatistics


class JudgedHook(NamedTuple):
    """One hook point, judged."""

    layer: int
    stream: HookStream
    made: list[Made]
    judged: Judged
    bar: float
    live: Tensor
    effects: pd.DataFrame
    """Its rows of the table `latent_effects`."""


def summary(work: Work, hook: JudgedHook, described: int) -> HookFeatures:
    """What the result says of one hook point."""
    health, judged = hook.made[0].health, hook.judged
    null = work.nulls.samples.get(hook.layer)
    size, alive = (0 if null is None else len(null.score_K)), int(hook.live.sum())
    recurring = None if judged.recurrence is None or not alive else float(judged.recurrence[hook.live].mean())
    loss = _recovered(work, hook)
    kinds = judged.kinds.kind
    return HookFeatures(
        hook=judged.hook,
        dictionary=work.audit.config.dictionary,
        latents=len(kinds),
        seeds=len(hook.made),
        fve_base=health.fve[0],
        fve_tuned=health.fve[1],
        held_out=health.held_out,
        l0=sum(health.l0) / len(health.l0),
        dead_share=health.dead,
        recovered_kl=[loss.base.kl_recovered, loss.tuned.kl_recovered],
        recovered_ce=[loss.base.ce_recovered, loss.tuned.ce_recovered],
        live=alive,
        kinds=dict(sorted(Counter(kinds).items())),
        candidates=dict(sorted(Counter(judged.kinds.candidate).items())),
        findings=_findings(judged),
        silenced=_silenced(judged, hook.effects),
        rotation_bar=hook.bar,
        recurring=recurring,
        null_latents=size,
        least_findings=least_findings(alive, size, LEVEL) if size and alive else None,
        described=described,
    )


def _findings(judged: Judged) -> list[FoundLatent]:
    score = switch_score(judged.statistics, judged.scaling)
    recurs = judged.recurrence
    found = [
        FoundLatent(
            latent=latent,
            kind=kind,
            q_value=float(judged.q_values.q_F[latent]),
            score=float(score[latent]),
            seed_recurrence=None if recurs is None or recurs[latent].isnan() else float(recurs[latent]),
        )
        for latent, kind in enumerate(judged.kinds.kind)
        if kind in SWITCHED
    ]
    return sorted(found, key=lambda one: (one.q_value, -one.score))


def _silenced(judged: Judged, effects: pd.DataFrame) -> list[SilencedLatent]:
    quiet = [latent for latent, kind in enumerate(judged.kinds.kind) if kind == SILENT]
    rows = effects[effects["latent"].isin(quiet)].sort_values("difference", key=abs, ascending=False)
    columns = list(SilencedLatent.model_fields)
    return [
        SilencedLatent.model_validate(row)
        for row in rows.drop_duplicates("latent")[columns].to_dict("records")
    ]


def _recovered(work: Work, hook: JudgedHook) -> PairLoss:
    """Loss recovered on documents that were not trained on."""
    held = work.reading.documents[HELD_OUT - 1 :: HELD_OUT] or work.reading.documents
    wanted, texts = max(1, work.audit.preset.corpus_tokens // SPLICED), []
    for document in held:
        if wanted > 0:
            texts.append(document)
            wanted -= len(document.tokens)
    audit = work.audit
    with audit.progress.task("Splicing the reconstruction in", len(texts)) as advance:
        return spliced_loss(
            audit.pair,
            hook.made[0].dictionary,
            texts,
            HookPoint(hook.layer),
            batch_size=work.reading.batch_size,
            mask=work.reading.mask,
            progress=advance,
        )


def not_measured(work: Work, hooks: list[HookFeatures]) -> list[str]:
    """Sentences: what was asked for and could not be measured."""
    sentences = list(work.nulls.missing)
    if not work.nulls.facts:
        sentences.append("Without a benign null no latent has a q-value: what looks switched is unsure.")
    for hook in hooks:
        if hook.seeds < 2:
            sentences.append(f"{hook.hook}: one dictionary only, so recurrence across seeds is not known.")
        if hook.least_findings is not None and hook.least_findings > 1:
            sentences.append(
                f"{hook.hook}: with {hook.null_latents} null latents a q-value reaches .05 only where at"
                f" least {hook.least_findings} latents stand out together; fewer stay unsure."
            )
    if reads_difference(dictionary_source(work.audit.config.dictionary)):
        sentences.append("A difference SAE has no error of the base: its latents are not put into kinds.")
    return sentences
