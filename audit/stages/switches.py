"""Where is the switch? Weight attribution, module grafts, and the smallest set that undoes the change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from audit.behaviours.suite import Suite
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
from audit.presets import PresetName
from audit.stages.changed import FIT_ITEMS, setting_of, unchanged

if TYPE_CHECKING:
    from audit.causal.deltas import Deltas
    from audit.causal.search import Found
    from audit.causal.switch import Effort, Switch

GRAFTS: dict[PresetName, int] = {"quick": 4, "standard": 16, "deep": 64}
"""Modules that are grafted."""
FEWER_SETS = 3
"""Random sets, each matched in size and again in norm, in the preset quick."""
CHECKED: dict[PresetName, int] = {"quick": 1, "standard": 16, "deep": 64}
"""Modules whose units' writes are held against silencing the module; a dozen passes over the items each."""
ADAPTERS = "an adapter that multiplies instead of adding: its changes cannot be taken back unit by unit"
PARTS = ("units", "grafts")


def run(audit: AuditInputs, folder: StageFolder, behaviours: BehaviourResult) -> SwitchesResult:
    """Looks for the switch of every behaviour that changed; each behaviour is a part that survives a kill.

    Args:
        audit: the pair.
        folder: where `units` and `grafts` go.
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
    return SwitchesResult(
        behaviours=[part.result for part in found],
        largest=audit.preset.search_units,
        warnings=[f"{part.result.name}: {note}" for part in found for note in part.result.notes],
    )


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
        sets = preset.random_sets
        return Effort(
            items=FIT_ITEMS[config.preset],
            largest=preset.search_units,
            grafts=GRAFTS[config.preset],
            checked=CHECKED[config.preset],
            random_sets=min(sets, FEWER_SETS) if config.preset == "quick" else sets,
            draws=preset.draws,
            seed=config.seed,
            batch_size=config.batch_size,
        )

    def switch(self, suite: Suite, result: SuiteResult) -> Switch:
        """The search of one behaviour, in the form that carries the verdict."""
        from audit.causal.switch import Switch

        setting = setting_of(self.audit, suite, result)
        return Switch(self.audit.pair, self.deltas, setting, self.effort, self.audit.progress)


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
    notes = [direct] if isinstance(direct, str) else []
    return _Part(_result(result, switch, notes), {"units": units, "grafts": grafts})


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
