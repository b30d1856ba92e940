"""One hook point: its dictionaries, one pass over the activations, and what each latent is."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from audit.features.activations import HookStream
from audit.features.dictionaries import Made, dictionary_config, measured, trained
from audit.features.effects import effects_of, largest_change
from audit.features.frames import Judged
from audit.features.summary import JudgedHook, Pass, Work
from audit.stages.changed import Changed
from sae import features as f
from sae.types import HookPoint

DICTIONARIES = "dictionaries"


def read_hook(work: Work, place: int) -> Pass:
    """Dictionaries of every seed, and one pass over the activations with the first.

    Args:
        work: what the hook points share.
        place: index among the hook points.
    """
    hook = HookPoint(work.reading.layers[place])
    stream = HookStream(work.store, place, work.audit.config.seed)
    made = _dictionaries(work, stream, hook)
    dictionary = made[0].dictionary
    tokens = sum(shard.tokens for shard in work.store.shards)
    with work.audit.progress.task(f"Measuring the latents of {hook.name}", tokens) as advance:
        found = f.latent_statistics(stream, dictionary, joint=dictionary.joint, progress=advance)
    return Pass(hook.layer, stream, made, found)


def judge(work: Work, one: Pass, effects: pd.DataFrame, behaviours: Sequence[Changed]) -> JudgedHook:
    """What the latents of one hook point are.

    Args:
        work: what the hook points share.
        one: of this hook point.
        effects: the table `latent_effects`.
        behaviours: those that changed.
    """
    found, name = one.statistics, HookPoint(one.layer).name
    scaling, alive = f.latent_scaling(found), f.live(found)
    others = [made.dictionary.decoder_FMD.detach().float().cpu() for made in one.made[1:]]
    bar = f.rotation_bar(found.decoder_FMD, others, alive)
    recurring = f.recurrence([f.matches(found.decoder_FMD, other) for other in others])
    q_values = f.against_nulls(found, scaling, alive, work.nulls.samples.get(one.layer))
    mine = effects[effects["hook"] == name]
    lost = effects_of(mine, len(alive), [behaviour for behaviour in behaviours if behaviour.turned])
    kinds = f.classify(found, q_values.q_F, lost, scaling=scaling, thresholds=f.Thresholds(cosine=bar))
    largest = largest_change(effects_of(mine, len(alive), behaviours), len(alive))
    judged = Judged(name, found, scaling, kinds, q_values, recurring, largest)
    return JudgedHook(one.layer, one.stream, one.made, judged, bar, alive, mine)


def _dictionaries(work: Work, stream: HookStream, hook: HookPoint) -> list[Made]:
    audit, made = work.audit, []
    if work.given is not None:
        return [measured(work.given, stream)]
    for number in range(audit.preset.dictionary_seeds):
        seed = audit.config.seed + number
        config = dictionary_config(
            audit.config.dictionary, audit.preset, seed=seed, device=audit.config.device
        )
        folder = work.folder.parts / DICTIONARIES / hook.name / f"seed-{seed}"
        title = f"Training dictionary {number + 1} of {audit.preset.dictionary_seeds}"
        own = HookStream(stream.store, stream.place, seed)
        made.append(trained(own, config, folder, hook=hook, title=title, progress=audit.progress))
    return made
