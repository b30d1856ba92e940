"""What the latents write towards the behaviours that changed, in base and tuned model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from audit.causal.bypass import Setting
from audit.causal.write_attribution import LatentSettings, latent_effects, pooled
from audit.evidence.schema import TABLES
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.stages.changed import FIT_ITEMS, Changed
from sae.dictionaries import AnyDictionary
from sae.features import Effects
from sae.types import HookPoint


def measured_effects(
    audit: AuditInputs,
    folder: StageFolder,
    behaviours: Sequence[Changed],
    dictionaries: Mapping[int, AnyDictionary],
) -> pd.DataFrame:
    """Rows of the table `latent_effects`, on the fit half; each behaviour at a hook point survives a kill.

    The q-values are corrected over the latents of all hook points and behaviours together.

    Args:
        audit: the pair, the effort.
        folder: keeps the parts.
        behaviours: those that changed.
        dictionaries: block -> the dictionary of its output.
    """
    frames = [
        folder.part(
            f"effects-{HookPoint(layer).name}-{one.name}",
            "latent_effects",
            partial(_of_one, audit, one.setting, HookPoint(layer), dictionary),
        )
        for layer, dictionary in dictionaries.items()
        for one in behaviours
    ]
    return pooled(frames) if frames else no_effects()


def no_effects() -> pd.DataFrame:
    """The table `latent_effects` where nothing was measured."""
    return pd.DataFrame({column.name: [] for column in TABLES["latent_effects"].columns})


def effects_of(rows: pd.DataFrame, latents: int, behaviours: Sequence[Changed]) -> list[Effects]:
    """One hook point's rows as tensors, one entry per behaviour; NaN where a latent was silent."""
    found = []
    for one in behaviours:
        part = rows[rows["behaviour"] == one.name]
        values = torch.full((latents, 3), torch.nan, dtype=torch.float64)
        columns = part[["effect_base", "effect_tuned", "q_value"]].to_numpy(np.float64, copy=True)
        values[part["latent"].astype(int).tolist()] = torch.from_numpy(columns)
        base_F, tuned_F, q_F = values.unbind(1)
        found.append(Effects(base_F, tuned_F, q_F, one.change))
    return found


def largest_change(effects: Sequence[Effects], latents: int) -> Float[Tensor, " F"]:
    """Tuned minus base effect on the behaviour where it is largest in size; 0 where a latent was silent.

    NaN throughout if nothing was measured.
    """
    if not effects:
        return torch.full((latents,), torch.nan, dtype=torch.float64)
    change_BF = torch.stack([(one.tuned_F - one.base_F).nan_to_num(nan=0.0) for one in effects])
    return change_BF.gather(0, change_BF.abs().argmax(0, keepdim=True))[0]


def _of_one(audit: AuditInputs, setting: Setting, hook: HookPoint, dictionary: AnyDictionary) -> pd.DataFrame:
    config = audit.config
    fit = setting.objective("train", FIT_ITEMS[config.preset])
    title = f"{setting.suite.card.title}: what latents of {hook.name} write"
    with audit.progress.task(title, len(fit)) as advance:
        return latent_effects(
            audit.pair,
            dictionary,
            hook,
            [fit],
            batch_size=config.batch_size,
            settings=LatentSettings(draws=audit.preset.draws, seed=config.seed),
            progress=advance,
        )
