"""Latents that a bypass takes out of the tuned model: which ones, of which dictionary, at which block."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from audit.errors import RunFolderError
from audit.evidence.files import read_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import FeaturesResult, HookFeatures, SuiteResult
from audit.features.source import block_read, dictionary_source
from audit.inputs import AuditInputs
from audit.stages.changed import FIT_ITEMS

if TYPE_CHECKING:
    from audit.causal.arms import Arm
    from audit.causal.bypass import Setting
    from audit.causal.latents import LatentSet
    from sae.dictionaries import AnyDictionary

DIFFERENCE = "a difference SAE has no code of the tuned model alone, so no latents were taken out"
NO_EFFECT = "the latents' effects on it were not measured, so none were taken out"
NOTHING_PUSHED = "no latent's effect pushed it the way it went, so none were taken out"


class LatentInputs:
    """The tables and dictionaries of the stage `features`, read when they are asked for."""

    def __init__(self, audit: AuditInputs, folder: Path, result: FeaturesResult) -> None:
        self._audit, self._folder, self._result = audit, folder, result

    def missing(self, result: SuiteResult) -> list[str]:
        """Why no latents could be tried on a behaviour, if so."""
        if self._reads_difference:
            return [DIFFERENCE]
        if result.name not in self._result.effects_on:
            return [NO_EFFECT]
        tried = [s for hook in self._result.hooks for s in self._sets(hook, result)]
        return [] if tried else [NOTHING_PUSHED]

    def arms(self, setting: Setting, result: SuiteResult) -> list[Arm]:
        """One arm per set of latents of each hook point."""
        if self.missing(result):
            return []
        return [arm for hook in self._result.hooks for arm in self._of_hook(hook, setting, result)]

    def _of_hook(self, hook: HookFeatures, setting: Setting, result: SuiteResult) -> Iterator[Arm]:
        from audit.causal.arms import latent_arm
        from audit.causal.latents import strength
        from audit.causal.residual_edits import Latents

        sets = self._sets(hook, result)
        if not sets:
            return
        audit, dictionary, layer = self._audit, self._dictionary(hook), _layer(hook)
        fit = setting.objective("train", FIT_ITEMS[audit.config.preset])
        rates = self._of(hook, self._features).set_index("latent")["rate_tuned"].sort_index()
        with audit.pair.model("tuned") as model:
            found = strength(model, dictionary, layer, fit, rates, audit.config.batch_size)
        for one in sets:
            latents = Latents(dictionary, layer, one.indices, found.bound)
            yield latent_arm(one.name, one.description, latents, found.traits)

    def _sets(self, hook: HookFeatures, result: SuiteResult) -> list[LatentSet]:
        from audit.causal.latents import latent_sets

        effects = self._of(hook, self._effects)
        own = effects[effects["behaviour"] == result.name]
        return latent_sets(self._of(hook, self._features), own, result.primary.change.value)

    def _dictionary(self, hook: HookFeatures) -> AnyDictionary:
        """The first seed's, whose latents the tables number; or the one that the run was given."""
        from audit.features.dictionaries import opened
        from audit.features.judge import DICTIONARIES
        from sae.dictionaries import load

        config = self._audit.config
        source = dictionary_source(config.dictionary)
        if source.kind != "train":
            return opened(source, self._audit.preflight.width, config.device)
        return load(self._folder / DICTIONARIES / hook.hook / f"seed-{config.seed}", config.device)

    @cached_property
    def _reads_difference(self) -> bool:
        from audit.features.dictionaries import reads_difference

        return reads_difference(dictionary_source(self._audit.config.dictionary))

    @staticmethod
    def _of(hook: HookFeatures, table: pd.DataFrame) -> pd.DataFrame:
        return table[table["hook"] == hook.hook]

    @cached_property
    def _features(self) -> pd.DataFrame:
        return self._table("features")

    @cached_property
    def _effects(self) -> pd.DataFrame:
        return self._table("latent_effects")

    def _table(self, name: str) -> pd.DataFrame:
        path = self._folder / f"{name}.parquet"
        if not path.is_file():
            fix = "run the same command again: the stage features writes it"
            raise RunFolderError(f"The table {name} is missing.", where=str(path), fix=fix)
        return read_table(path, TABLES[name])


def _layer(hook: HookFeatures) -> int:
    layer = block_read(hook.hook)
    if layer is None:
        raise ValueError(f"{hook.hook} is not the output of a block")
    return layer
