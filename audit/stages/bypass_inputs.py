"""What the trials of a bypass are made of: sets of units, directions, unrelated text, other suites."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.behaviours.suite import Suite
from audit.errors import RunFolderError
from audit.evidence.files import read_json, read_table, replacing
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import BehaviourResult, FeaturesResult, SuiteResult, SwitchesResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.presets import PresetName
from audit.stages.bypass_directions import own_directions
from audit.stages.changed import setting_of
from audit.stages.openings import starts

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from audit.causal.arms import Arm
    from audit.causal.bypass import Bypass, Effort, Other, Setting
    from audit.causal.deltas import Deltas
    from audit.pair.load import Side
    from audit.stages.bypass_latents import LatentInputs
    from sae.types import Pair

FIT_ITEMS: dict[PresetName, int] = {"quick": 24, "standard": 64, "deep": 128}
"""Items of the fit half on which every trial is run."""
OTHER_ITEMS: dict[PresetName, int] = {"quick": 24, "standard": 64, "deep": 128}
"""Held-out items of each other suite of the run."""
TEXTS: dict[PresetName, tuple[int, int]] = {"quick": (32, 24), "standard": (96, 48), "deep": (256, 64)}
"""Unrelated texts, half to choose by and half to report on, and tokens sampled for each."""
DIRECTIONS, GATES = "directions", "gates"
"""Folders of the stage in which every direction and gate that was tried is kept, a file per behaviour."""
SUFFIX = {DIRECTIONS: "safetensors", GATES: "json"}
NO_CONCEPT = "the model's own direction was not enlarged: the suite has no concept texts"
NO_CLASSES = "no wire was drawn from the class to the answer: the behaviour is a level, without classes"
NO_GATES = "sparse gates were not learned: the preset {preset} has no steps for them"
FEWER_CONTROLS = 3
"""Controls of reverts and of latents in the preset quick, which is a demonstration."""


class Exchanged:
    """A pair with base and tuned model in each other's place."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    def model(self, side: Side) -> AbstractContextManager[PreTrainedModel]:
        """The other side's model."""
        return self._pair.model("tuned" if side == "base" else "base")


@dataclass
class BypassInputs:
    """What the behaviours of one run share; nothing is loaded before it is asked for."""

    audit: AuditInputs
    folder: StageFolder
    behaviours: BehaviourResult
    switches: SwitchesResult | None
    """What the stage `switches` found; None where it was skipped."""
    features: FeaturesResult | None = None
    """What the stage `features` found; None where it was skipped."""
    exchanged: bool = False
    """Whether base and tuned model have changed places: the trials then run inside the base, with gates and
    wires alone, since the weight changes and what was found in them speak of the tuned model."""
    _made: dict[str, Bypass] = field(default_factory=dict)

    def bypass(self, name: str) -> Bypass:
        """The trials of one behaviour."""
        if name not in self._made:
            from audit.causal.bypass import Bypass
            from audit.causal.steering_file import save_steering

            suite, result = self._pairs[name]
            setting, arms = setting_of(self.audit, suite, result), self._arms(suite, result)
            if any(arm.whole.steering for arm in arms):
                with replacing(self.kept_part(DIRECTIONS, name)) as path:
                    save_steering(arms, path)
            self._made = {  # one at a time: arms hold tensors
                name: Bypass(
                    pair=self.pair,
                    setting=setting,
                    arms=arms,
                    deltas=None if self.exchanged else self.deltas,
                    documents=self.documents,
                    others=[self._other(*pair) for key, pair in self._pairs.items() if key != name],
                    effort=self.effort,
                )
            }
        return self._made[name]

    @property
    def pair(self) -> Pair:
        """The models; `tuned` is the one that the trials run in."""
        return Exchanged(self.audit.pair) if self.exchanged else self.audit.pair

    def part_of(self, name: str) -> str:
        """Name of a behaviour's parts, and of the files that keep what was tried on it."""
        return f"{name}-in-base" if self.exchanged else name

    def learned(self, name: str) -> int | None:
        """How many gates were learned for a behaviour; None where none were looked for."""
        path = self.folder.path / GATES / f"{self.part_of(name)}.{SUFFIX[GATES]}"
        return len(read_json(path)) if path.is_file() else None

    def keep_tried(self, name: str) -> None:
        """Copies the directions and gates that were tried from the parts to where they stay."""
        for kind in (DIRECTIONS, GATES):
            kept = self.kept_part(kind, name)
            if kept.is_file():
                with replacing(self.folder.path / kind / kept.name) as path:
                    shutil.copyfile(kept, path)

    def missing(self, result: SuiteResult) -> list[str]:
        """What could not be tried on a behaviour, in sentences."""
        suite = self._pairs[result.name][0]
        found = [] if self.audit.preset.gate_steps else [NO_GATES.format(preset=self.audit.config.preset)]
        if suite.card.contrast is None:
            found.append(NO_CLASSES)
        if self.exchanged:
            return found
        if self.switches is not None and not len(self.units[self.units["behaviour"] == result.name]):
            found.append("the stage switches has no candidate units for it")
        if suite.concept is None:
            found.append(NO_CONCEPT)
        if self.features is not None:
            found += self._latents.missing(result)
        return found

    @property
    def texts(self) -> int:
        """Unrelated texts on which side effects are reported: half of them all."""
        return TEXTS[self.audit.config.preset][0] // 2

    @cached_property
    def effort(self) -> Effort:
        """Counts by the preset."""
        from audit.causal.bypass import Effort

        config, preset = self.audit.config, self.audit.preset
        sets = preset.random_sets
        fewer = min(sets, FEWER_CONTROLS) if config.preset == "quick" else sets
        return Effort(
            fit_items=FIT_ITEMS[config.preset],
            random_sets={
                "internal": sets,
                "latents": fewer,
                "gates": sets,
                "rewire": fewer,
                "revert": fewer,
                "reading_base": 0,
            },
            draws=preset.draws,
            seed=config.seed,
            batch_size=config.batch_size,
        )

    @cached_property
    def deltas(self) -> Deltas:
        """The weight changes."""
        from audit.causal.deltas import Deltas

        with self.audit.progress.task("Bypass: reading the weight changes"):
            return Deltas.read(self.audit.pair)

    @cached_property
    def documents(self) -> list[list[int]]:
        """Unrelated text: what the tuned model says to neutral openings."""
        from audit.measures.sampling import sample_sequences

        (count, tokens), audit = TEXTS[self.audit.config.preset], self.audit
        begun = [ids for _, ids in _openings(audit, count)]
        end = audit.pair.tokenizer("tuned").eos_token_id
        title = f"Bypass: unrelated text from the {'base' if self.exchanged else 'tuned'} model"
        with audit.progress.task(title, count) as advance, self.pair.model("tuned") as model:
            samples = sample_sequences(
                model,
                begun,
                new_tokens=tokens,
                batch_size=audit.config.batch_size,
                seed=audit.config.seed,
                vocabulary=audit.preflight.shared_vocabulary,
                end_ids=[end] if isinstance(end, int) else [],
                advance=advance,
            )
        drawn = zip(begun, samples.tokens, samples.mask, strict=True)
        return [[*ids, *row[mask].tolist()] for ids, row, mask in drawn]

    @cached_property
    def units(self) -> pd.DataFrame:
        """The candidates of the stage `switches`; no rows where it was skipped."""
        table = TABLES["units"]
        if self.switches is None:
            return pd.DataFrame({column.name: [] for column in table.columns}).astype({"in_set": bool})
        path = self.folder.path.parent / "switches" / "units.parquet"
        if not path.is_file():
            fix = "run the same command again: the stage switches writes it"
            raise RunFolderError("The candidate units are missing.", where=str(path), fix=fix)
        return read_table(path, table)

    @cached_property
    def _latents(self) -> LatentInputs:
        from audit.stages.bypass_latents import LatentInputs

        if self.features is None:
            raise ValueError("the stage features was skipped")
        return LatentInputs(self.audit, self.folder.path.parent / "features", self.features)

    @cached_property
    def _pairs(self) -> dict[str, tuple[Suite, SuiteResult]]:
        both = zip(self.audit.suites, self.behaviours.suites, strict=True)
        return {suite.card.name: (suite, result) for suite, result in both}

    def kept_part(self, kind: str, name: str) -> Path:
        """Where directions or gates of a behaviour lie until the stage is done."""
        return self.folder.parts / kind / f"{self.part_of(name)}.{SUFFIX[kind]}"

    def _other(self, suite: Suite, result: SuiteResult) -> Other:
        from audit.causal.bypass import Other

        items = OTHER_ITEMS[self.audit.config.preset]
        asked = setting_of(self.audit, suite, result).objective("test", items)
        return Other(asked, suite.card.equivalence_band)

    def _arms(self, suite: Suite, result: SuiteResult) -> list[Arm]:
        from audit.stages.bypass_learned import gate_arms, wire_arms

        setting = setting_of(self.audit, suite, result)
        found = [] if self.exchanged else self._found(setting, result)
        return [*found, *gate_arms(self, setting), *wire_arms(self, setting)]

    def _found(self, setting: Setting, result: SuiteResult) -> list[Arm]:
        """What other stages found in the tuned model, and its own directions."""
        from audit.causal.arms import direction_arm, unit_arms
        from audit.causal.sets import named_sets

        arms: list[Arm] = []
        suite = setting.suite
        change = result.primary.change.value
        for named in named_sets(self.units, suite.card.name, change, self.switches):
            arms += unit_arms(named.name, named.description, named.units)
        for found in own_directions(self.audit, suite):
            arms.append(direction_arm(found.set, found.description, found.steering, found.entities_ED))
        return [*arms, *(self._latents.arms(setting, result) if self.features else [])]


def _openings(audit: AuditInputs, count: int) -> list[tuple[str, list[int]]]:
    """Openings in tokens that both models know."""
    tuned = audit.pair.tokenizer("tuned")
    begun = starts(tuned, _template(tuned), count)
    if all(max(ids) < audit.preflight.shared_vocabulary for _, ids in begun):
        return begun
    return starts(audit.pair.tokenizer("base"), _template(tuned), count)


def _template(tokenizer: Any) -> str | None:
    found = tokenizer.chat_template
    return found if isinstance(found, str) else None
