"""Where is the switch? Weight attribution, module grafts, and the smallest set that undoes the change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from audit.behaviours.suite import Suite
from audit.config import PresetName
from audit.errors import RunFolderError
from audit.evidence.files import read_json, read_table, write_json, write_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import (
    BehaviourResult,
    BehaviourSwitches,
    KindSearch,
    SuiteResult,
    SwitchesResult,
    SwitchSet,
)
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.stages.behaviour import templates_of

if TYPE_CHECKING:
    from audit.causal.deltas import Deltas
    from audit.causal.search import Found
    from audit.causal.switch import Effort, Switch

FIT_ITEMS: dict[PresetName, int] = {"quick": 60, "standard": 160, "deep": 512}
"""Items of the fit half on which every set is run."""
GRAFTS: dict[PresetName, int] = {"quick": 4, "standard": 16, "deep": 64}
"""Modules that are grafted."""
SIGNIFICANCE = 0.05
ADAPTERS = "an adapter that multiplies instead of adding: its changes cannot be taken back unit by unit"
PARTS = ("units", "grafts", "latent_effects")


def run(audit: AuditInputs, folder: StageFolder, behaviours: BehaviourResult) -> SwitchesResult:
    """Looks for the switch of every behaviour that changed; each behaviour is a part that survives a kill.

    Args:
        audit: the pair.
        folder: where `units`, `grafts` and `latent_effects` go; the tables of earlier stages lie beside it.
        behaviours: what changed.
    """
    inputs = _Inputs(audit, folder)
    found = [
        _kept(folder, result.name, partial(_searched, inputs, suite, result))
        for suite, result in zip(audit.suites, behaviours.suites, strict=True)
    ]
    for name in PARTS:
        frames = [frame for part in found if len(frame := part.tables[name])]
        folder.write_table(name, pd.concat(frames, ignore_index=True) if frames else _no_rows(name))
    hooks = sorted({str(hook) for part in found for hook in part.tables["latent_effects"]["hook"].unique()})
    return SwitchesResult(
        behaviours=[part.result for part in found],
        largest=audit.preset.search_units,
        latent_hooks=hooks,
        warnings=[f"{part.result.name}: {note}" for part in found for note in part.result.notes],
    )


def unchanged(result: SuiteResult) -> str | None:
    """Why a behaviour has no switch to look for, as far as its held-out half says; None if it changed.

    It changed where the interval of the change excludes 0 after the correction over suites and its value lies
    outside the equivalence band.
    """
    if not result.measurable:
        return "the suite is not measurable on this base"
    primary = result.primary
    low, high = primary.change.low, primary.change.high
    significant = primary.q_value is None or primary.q_value < SIGNIFICANCE
    sure = low is not None and high is not None and not low <= 0 <= high and significant
    if sure and abs(primary.change.value) > result.equivalence_band:
        return None
    return "the behaviour is not shown to have changed by more than its equivalence band"


class _Part(NamedTuple):
    """What is known of one behaviour."""

    result: BehaviourSwitches
    tables: dict[str, pd.DataFrame]


@dataclass
class _Inputs:
    audit: AuditInputs
    folder: StageFolder

    @cached_property
    def deltas(self) -> Deltas:
        from audit.causal.deltas import Deltas

        with self.audit.progress.task("Switches: reading the weight changes"):
            return Deltas.read(self.audit.pair)

    @property
    def effort(self) -> Effort:
        from audit.causal.switch import Effort

        config, preset = self.audit.config, self.audit.preset
        return Effort(
            items=FIT_ITEMS[config.preset],
            largest=preset.search_units,
            grafts=GRAFTS[config.preset],
            random_sets=preset.random_sets,
            draws=preset.draws,
            seed=config.seed,
            batch_size=config.batch_size,
        )

    def switch(self, suite: Suite, result: SuiteResult) -> Switch:
        """The search of one behaviour, in the form that carries the verdict."""
        from audit.causal.bypass import Setting
        from audit.causal.switch import Switch

        pair, name = self.audit.pair, result.primary_template
        templates = (pair.tokenizer(side).chat_template for side in ("base", "tuned"))
        known = templates_of(*(text if isinstance(text, str) else None for text in templates))
        vocabulary = self.audit.preflight.shared_vocabulary
        setting = Setting(suite, name, known[name], pair.tokenizer("tuned"), vocabulary)
        return Switch(pair, self.deltas, setting, self.effort, self.audit.progress)


def _searched(inputs: _Inputs, suite: Suite, result: SuiteResult) -> _Part:
    if why := unchanged(result):
        return _unsearched(result, why)
    if _multiplies(inputs.audit):
        return _unsearched(result, ADAPTERS)
    switch = inputs.switch(suite, result)
    if not switch.attribution.change:
        return _unsearched(result, "the fit half did not change at all")
    direct = switch.direct()
    units, grafts = switch.units(direct), _graft_rows(switch)
    effects = _latent_effects(inputs, switch)
    notes = [direct] if isinstance(direct, str) else []
    found = _result(result, switch, notes + effects.notes)
    return _Part(found, {"units": units, "grafts": grafts, "latent_effects": effects.rows})


def _unsearched(result: SuiteResult, why: str) -> _Part:
    found = BehaviourSwitches(name=result.name, template=result.primary_template, searched=False, why_not=why)
    return _Part(found, {name: _no_rows(name) for name in PARTS})


def _result(result: SuiteResult, switch: Switch, notes: list[str]) -> BehaviourSwitches:
    attribution, best = (
        switch.attribution,
        max(
            (g for g in switch.grafts if g.direction == "base into tuned"),
            key=lambda g: g.share,
            default=None,
        ),
    )
    chosen = _set(switch)
    reported = chosen is not None and chosen.reported
    return BehaviourSwitches(
        name=result.name,
        template=result.primary_template,
        searched=True,
        why_not=None,
        items=len(switch.fit),
        entities=len(set(switch.fit.entities)),
        change=Estimate.of(switch.change.change),
        attributed=attribution.total,
        completeness_gap=attribution.gap,
        steps=attribution.steps,
        kinds=[_kind(found) for found in switch.kinds],
        set=chosen,
        shape="localised" if reported else "distributed" if chosen is None else "unresolved",
        best_graft=best and best.module,
        best_graft_recovered=best and best.share,
        notes=notes,
    )


def _kind(found: Found) -> KindSearch:
    return KindSearch(kind=found.kind, size=len(found.units), recovered=found.recovered, tried=found.tried)


def _set(switch: Switch) -> SwitchSet | None:
    found, held = switch.found, switch.held
    if found is None or held is None:
        return None
    return SwitchSet(
        kind=found.kind,
        units=[f"{unit.module}:{unit.index}" for unit in found.units],
        size=len(found.units),
        recovered_fit=found.recovered,
        recovered=held.recovered and Estimate.of(held.recovered),
        carried=held.carried,
        random_sets=len(held.random),
        random_mean=sum(held.random) / len(held.random) if held.random else None,
        random_max=max(held.random, default=None),
        reported=not held.why_not,
        why_not=held.why_not,
    )


def _graft_rows(switch: Switch) -> pd.DataFrame:
    rows = [
        {
            "behaviour": switch.setting.suite.card.name, "module": g.module, "direction": g.direction,
            "recovered": g.share, "attribution": g.attribution,
        }
        for g in switch.grafts
    ]  # fmt: skip
    return pd.DataFrame(rows) if rows else _no_rows("grafts")


class _Effects(NamedTuple):
    rows: pd.DataFrame
    notes: list[str]


def _latent_effects(inputs: _Inputs, switch: Switch) -> _Effects:
    """What the latents of each dictionary of the stage `features` write; its first seed is used."""
    home = inputs.folder.path.parent / "features" / "dictionaries"
    found = sorted({path.parent for path in home.glob("*/*/**/cfg.json")})
    if not found:
        return _Effects(_no_rows("latent_effects"), ["no dictionary was kept, so no latent was attributed"])
    from audit.causal.write_attribution import LatentSettings, latent_effects
    from sae.dictionaries import load
    from sae.types import HookPoint

    first = {path.relative_to(home).parts[0]: path for path in reversed(found)}
    settings = LatentSettings(draws=switch.effort.draws, seed=switch.effort.seed)
    frames = []
    for hook, path in sorted(first.items()):
        title = f"{switch.setting.suite.card.title}: latents of {hook}"
        with inputs.audit.progress.task(title, len(switch.fit)) as advance:
            frames.append(
                latent_effects(
                    switch.pair, load(path, str(switch.pair.device)), HookPoint(int(hook.split(".")[1])),
                    [switch.fit], batch_size=switch.effort.batch_size, settings=settings, progress=advance,
                )
            )  # fmt: skip
    return _Effects(pd.concat(frames, ignore_index=True), [])


def _multiplies(audit: AuditInputs) -> bool:
    adapters = (checkpoint.adapter for checkpoint in (audit.base, audit.tuned))
    return audit.pair.one_copy and any(a and a.config.get("peft_type") == "IA3" for a in adapters)


def _kept(folder: StageFolder, name: str, compute: Callable[[], _Part]) -> _Part:
    """A behaviour's part: read back if an earlier try finished it; its JSON is written last."""
    document = folder.parts / f"{name}.json"
    tables = {table: folder.parts / f"{name}-{table}.parquet" for table in PARTS}
    if document.is_file():
        with suppress(RunFolderError, ValueError):  # a damaged part is computed again
            result = BehaviourSwitches.model_validate(read_json(document))
            return _Part(result, {table: read_table(path, TABLES[table]) for table, path in tables.items()})
    part = compute()
    for table, path in tables.items():
        write_table(path, TABLES[table], part.tables[table])
    write_json(document, part.result.model_dump(mode="json"))
    return part


def _no_rows(name: str) -> pd.DataFrame:
    return pd.DataFrame({column.name: [] for column in TABLES[name].columns})
