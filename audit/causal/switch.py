"""One behaviour's switch: found on the fit half by attribution and search, held against the held-out half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.causal.attributed import WeightAttribution
from audit.causal.bypass import Setting
from audit.causal.deltas import Deltas
from audit.causal.grafts import Graft, graft, graftable, strongest
from audit.causal.held import Held
from audit.causal.integrated_writes import ModuleWrites, module_writes
from audit.causal.interventions import READABLE
from audit.causal.objective import Objective
from audit.causal.search import SEARCHED, Found, SearchSettings, Trials, minimal_set, random_sets, smallest
from audit.causal.unit_writes import Writes
from audit.causal.units import Layout, Unit, parameter
from audit.causal.weight_attribution import attribute_well
from audit.measures.effect import PairedChange, paired_change, turned_share
from audit.measures.recovery import recovery
from audit.progress import Progress
from sae.types import SIDES, Side

if TYPE_CHECKING:
    from audit.pair.load import ModelPair

LISTED = 32
"""Units of each kind in the table."""
TOLERANCE, STEPS = 0.2, 4
"""Completeness gap beyond which one gradient is not enough, and how many are taken then."""


@dataclass(frozen=True)
class Effort:
    """Counts, seed and batch size of a search."""

    items: int
    """Items of the fit half that are used, at most."""
    largest: int
    """Units of a set."""
    grafts: int
    """Modules that are grafted, the strongest attributions first."""
    checked: int
    """Modules whose writes are checked and, where one gradient misleads, integrated."""
    random_sets: int
    draws: int
    seed: int
    batch_size: int


@dataclass
class Switch:
    """The search for the switch of one behaviour; each part is computed when it is first asked for."""

    pair: ModelPair
    deltas: Deltas
    setting: Setting
    effort: Effort
    progress: Progress

    @cached_property
    def fit(self) -> Objective:
        """The items that choose."""
        return self.setting.objective("train", self.effort.items)

    @cached_property
    def layout(self) -> Layout:
        """Units of the models."""
        with self.pair.model("tuned") as model:
            return Layout(model)

    @cached_property
    def attribution(self) -> WeightAttribution:
        """Of the weight changes, and of what neurons and heads write."""
        with self.progress.task(self._title("attributing"), 2 * len(self.fit)) as advance:
            return attribute_well(
                self.pair, self.fit, self.deltas,
                tolerance=TOLERANCE, steps=STEPS, batch_size=self.effort.batch_size, progress=advance,
            )  # fmt: skip

    @cached_property
    def change(self) -> PairedChange:
        """b_tuned - b_base on the fit half."""
        found = self.attribution
        return paired_change(
            found.scores_base.numpy(), found.scores_tuned.numpy(), **_tags(self.fit), **self._draws
        )

    @cached_property
    def kinds(self) -> list[Found]:
        """What the search found among the units of each kind that changed."""
        settings, found = SearchSettings(self.effort.largest), []
        changed = [kind for kind in SEARCHED if self.attribution.by_unit(self.layout, kind)]
        title = self._title("searching")
        with self.pair.model("tuned") as model, self.progress.task(title, len(changed)) as advance:
            trials = self._trials(model)
            for kind in changed:
                found.append(minimal_set(trials, self.attribution, kind, settings))
                advance(1)
        return found

    @cached_property
    def found(self) -> Found | None:
        """The smallest set of all kinds."""
        return smallest(self.kinds, self.deltas, self.layout)

    @cached_property
    def held(self) -> Held | None:
        """The set, and random ones, on the held-out half."""
        if self.found is None:
            return None
        objective, size = self.setting.objective("test"), self.effort.batch_size
        randoms = random_sets(
            self.attribution, self.layout, self.deltas, self.found,
            count=self.effort.random_sets, seed=self.effort.seed,
        )  # fmt: skip
        with self.pair.model("base") as model:
            base = objective.scores(model, size)
        title = self._title("random sets")
        with self.pair.model("tuned") as model, self.progress.task(title, len(randoms)) as advance:
            tuned = objective.scores(model, size)
            trials = Trials(model, self.layout, self.deltas, objective, base, tuned, size)
            scores = [trials.scores(self.found.units)]
            for one in randoms:
                scores.append(trials.scores(one.units, one.dose))
                advance(1)
        columns = [m.numpy() for m in scores]
        shares = recovery(base.numpy(), tuned.numpy(), columns, **_tags(objective), **self._draws).shares
        carried = self.attribution.carried(self.layout, self.found.units)
        null = self.setting.suite.card.null_level
        turned = turned_share(float(objective.effect(base)) - null, float(objective.effect(tuned)) - null)
        if shares is None:
            return Held(None, (), carried, turned)
        return Held(shares[0], tuple(share.value for share in shares[1:]), carried, turned)

    @cached_property
    def grafts(self) -> list[Graft]:
        """The strongest modules exchanged, and the best of them the other way round."""
        with self.pair.model("tuned") as model:
            modules = strongest(
                graftable(model, self.layout, self.deltas), self.attribution, self.effort.grafts
            )
            with self.progress.task(self._title("grafting"), len(modules) + 1) as advance:
                there = []
                for module in modules:
                    there += graft(self._trials(model), [module], self.attribution, "base into tuned")
                    advance(1)
        best = max(there, key=lambda g: g.share, default=None)
        if best is None:
            return []
        with self.pair.model("base") as model:
            unit = Unit("module", best.module, 0)
            back = graft(self._trials(model), [unit], self.attribution, "tuned into base")
        return [*there, *back]

    def direct(self) -> tuple[Writes, Writes] | str:
        """Direct effects in the base and in the tuned model, or why there are none."""
        from audit.causal.decompose import direct_effects, why_not

        if reason := why_not(self.fit):
            return f"no direct logit attribution: {reason}"
        found = []
        with self.progress.task(self._title("direct effects"), 2 * len(self.fit)) as advance:
            for side in SIDES:
                with self.pair.model(side) as model:
                    found.append(direct_effects(model, self.fit, self.effort.batch_size, advance))
        return found[0], found[1]

    def units(self, direct: tuple[Writes, Writes] | str) -> pd.DataFrame:
        """The strongest candidates of every kind and the whole set, as rows of the table `units`."""
        chosen = set(self.found.units) if self.found and self.held and not self.held.why_not else set()
        listed = [
            candidate.unit
            for kind in SEARCHED
            for candidate in self.attribution.ranked(self.layout, kind, LISTED)
        ]
        units = list(dict.fromkeys([*listed, *sorted(chosen)]))
        checked = self._checked_writes(units)
        rows = [self._row(unit, direct, checked, unit in chosen) for unit in units]
        norms = pd.DataFrame(self._norms(units), columns=["base_norm", "tuned_norm"])
        return pd.concat([pd.DataFrame(rows), norms], axis=1)

    def _checked_writes(self, units: Sequence[Unit]) -> dict[str, list[ModuleWrites]]:
        """Writes in base and tuned model, integrated where one gradient misleads, of the strongest modules.

        Of those in which the listed units' writes changed most.
        """
        by_side = (self.attribution.writes_base, self.attribution.writes_tuned)
        changes: dict[str, float] = {}
        for unit in units:
            base, tuned = (w.of(unit) if w else None for w in by_side)
            if base is not None and tuned is not None:
                changes[unit.module] = changes.get(unit.module, 0.0) + abs(tuned - base)
        modules = sorted(changes, key=lambda name: -changes[name])[: self.effort.checked]
        found: dict[str, list[ModuleWrites]] = {module: [] for module in modules}
        title = self._title("checking writes")
        with self.progress.task(title, len(SIDES) * len(modules)) as advance:
            for side, writes in zip(SIDES, by_side, strict=True):
                for module in modules:
                    if writes is not None:
                        found[module].append(self._checked(side, module, writes))
                    advance(1)
        return found

    def _checked(self, side: Side, module: str, writes: Writes) -> ModuleWrites:
        with self.pair.model(side) as model:
            return module_writes(
                model, Layout(model), self.fit, module, writes.module(module),
                tolerance=TOLERANCE, steps=STEPS, batch_size=self.effort.batch_size,
            )  # fmt: skip

    def _row(
        self,
        unit: Unit,
        direct: tuple[Writes, Writes] | str,
        checked: dict[str, list[ModuleWrites]],
        chosen: bool,
    ) -> dict[str, Any]:
        found, sure = self.attribution, checked.get(unit.module) if unit.kind in READABLE else None
        writes = [w.of(unit) if w else None for w in (found.writes_base, found.writes_tuned)]
        if sure is not None:
            writes = [float(one.values[unit.index]) for one in sure]
        base, tuned = (None, None) if isinstance(direct, str) else (w.of(unit) for w in direct)
        values = found.by_unit(self.layout, unit.kind)[unit.module]
        return {
            "behaviour": self.setting.suite.card.name, "kind": unit.kind, "module": unit.module,
            "index": unit.index, "weight_attribution": float(values[unit.index]),
            "write_base": writes[0], "write_tuned": writes[1],
            "write_attribution": _less(writes[1], writes[0]),
            "direct_base": base, "direct_tuned": tuned,
            "write_gap": max(one.gap for one in sure) if sure else None,
            "write_steps": max(one.steps for one in sure) if sure else None,
            "change_norm": self.deltas.norm(self.layout, unit), "in_set": chosen,
        }  # fmt: skip

    def _norms(self, units: Sequence[Unit]) -> list[tuple[float | None, float | None]]:
        """Norm of each unit's weights in base and tuned model; none for components."""
        found: list[tuple[float | None, float | None]] = []
        with self.pair.model("base") as model:
            # Below an adapter lies the weight without it, which is the base's unless the base carries it.
            carries = any(not getattr(m, "disable_adapters", True) for m in model.modules())
            for unit in units:
                if unit.kind == "component" or carries:
                    found.append((None, None))
                    continue
                base = tuned = 0.0
                for part in self.layout.slices(unit):
                    weight = part.of(parameter(model, part.parameter).detach()).float().cpu()
                    base += float(weight.pow(2).sum())
                    change = self.deltas.of(part.parameter)
                    moved = weight if change is None else weight + part.of(change)
                    tuned += float(moved.pow(2).sum())
                found.append((base**0.5, tuned**0.5))
        return found

    def _trials(self, model: Any) -> Trials:
        found = self.attribution
        return Trials(
            model, self.layout, self.deltas, self.fit, found.scores_base, found.scores_tuned,
            self.effort.batch_size,
        )  # fmt: skip

    @property
    def _draws(self) -> dict[str, Any]:
        return {"draws": self.effort.draws, "seed": self.effort.seed}

    def _title(self, what: str) -> str:
        return f"{self.setting.suite.card.title}: {what}"


def _less(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _tags(objective: Objective) -> dict[str, Any]:
    return {
        "entity": list(objective.entities),
        "group": list(objective.groups) if objective.contrast else None,
        "contrast": objective.contrast,
    }
