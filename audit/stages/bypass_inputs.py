"""What the trials of a bypass are made of: sets of units, directions, unrelated text, other suites."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from audit.behaviours.suite import Suite
from audit.config import PresetName
from audit.errors import RunFolderError
from audit.evidence.files import read_table, replacing
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import BehaviourResult, FeaturesResult, SuiteResult, SwitchesResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.stages.changed import setting_of
from audit.stages.openings import starts

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from audit.causal.arms import Arm
    from audit.causal.bypass import Bypass, Effort, Other
    from audit.causal.deltas import Deltas
    from audit.causal.residual_edits import Steering
    from audit.stages.bypass_latents import LatentInputs

FIT_ITEMS: dict[PresetName, int] = {"quick": 24, "standard": 64, "deep": 128}
"""Items of the fit half on which every trial is run."""
OTHER_ITEMS: dict[PresetName, int] = {"quick": 24, "standard": 64, "deep": 128}
"""Held-out items of each other suite of the run."""
TEXTS: dict[PresetName, tuple[int, int]] = {"quick": (32, 24), "standard": (96, 48), "deep": (256, 64)}
"""Unrelated texts, half to choose by and half to report on, and tokens sampled for each."""
DEPTHS: dict[PresetName, tuple[float, ...]] = {
    "quick": (0.5,),
    "standard": (0.35, 0.5, 0.7),
    "deep": (0.2, 0.35, 0.5, 0.6, 0.7, 0.85),
}
"""Where in the depth of the model the own direction is enlarged."""
DIRECTIONS = "directions"
"""Folder of the stage in which every direction that was tried is kept, a file per behaviour."""
NO_CONCEPT = "the model's own direction was not enlarged: the suite has no concept texts"
FEWER_CONTROLS = 3
"""Controls of a revert in the preset quick; a revert is no evidence that the wiring is intact."""


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
    _made: dict[str, Bypass] = field(default_factory=dict)

    def bypass(self, name: str) -> Bypass:
        """The trials of one behaviour."""
        if name not in self._made:
            from audit.causal.bypass import Bypass
            from audit.causal.steering_file import save_steering

            suite, result = self._pairs[name]
            setting, arms = setting_of(self.audit, suite, result), self._arms(suite, result)
            if any(arm.whole.steering for arm in arms):
                with replacing(self._directions_part(name)) as path:
                    save_steering(arms, path)
            self._made = {  # one at a time: arms hold tensors
                name: Bypass(
                    pair=self.audit.pair,
                    setting=setting,
                    arms=arms,
                    deltas=self.deltas,
                    documents=self.documents,
                    others=[self._other(*pair) for key, pair in self._pairs.items() if key != name],
                    effort=self.effort,
                )
            }
        return self._made[name]

    def keep_directions(self, name: str) -> None:
        """Copies the directions that were tried on a behaviour from the parts to where they stay."""
        kept = self._directions_part(name)
        if kept.is_file():
            with replacing(self.folder.path / DIRECTIONS / kept.name) as path:
                shutil.copyfile(kept, path)

    def missing(self, result: SuiteResult) -> list[str]:
        """What could not be tried on a behaviour, in sentences."""
        suite = self._pairs[result.name][0]
        found = []
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
        return Effort(
            fit_items=FIT_ITEMS[config.preset],
            random_sets={
                "internal": sets,
                "latents": sets,
                "revert": min(sets, FEWER_CONTROLS) if config.preset == "quick" else sets,
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
        title = "Bypass: unrelated text from the tuned model"
        with audit.progress.task(title, count) as advance, audit.pair.model("tuned") as model:
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

    def _directions_part(self, name: str) -> Path:
        return self.folder.parts / DIRECTIONS / f"{name}.safetensors"

    def _other(self, suite: Suite, result: SuiteResult) -> Other:
        from audit.causal.bypass import Other

        items = OTHER_ITEMS[self.audit.config.preset]
        asked = setting_of(self.audit, suite, result).objective("test", items)
        return Other(asked, suite.card.equivalence_band)

    def _arms(self, suite: Suite, result: SuiteResult) -> list[Arm]:
        from audit.causal.arms import direction_arm, unit_arms
        from audit.causal.sets import named_sets

        arms = []
        change = result.primary.change.value
        for named in named_sets(self.units, suite.card.name, change, self.switches):
            arms += unit_arms(named.name, named.description, named.units)
        for found in self._directions(suite):
            arms.append(direction_arm(found.set, found.description, found.steering, found.entities_ED))
        arms += self._latents.arms(setting_of(self.audit, suite, result), result) if self.features else []
        return arms

    def _directions(self, suite: Suite) -> Iterator[_Direction]:
        """The tuned model's own mean-difference directions, from the concept's train entities alone.

        A contrast asks for what tells entities apart to be enlarged, a level for the direction itself.
        """
        import torch

        from audit.causal.residual_edits import Steering
        from audit.directions.read import read_concept

        if suite.concept is None:
            return
        train = tuple(text for text in suite.concept.texts if text.split == "train")
        concept = suite.concept.model_copy(update={"texts": train})
        title = f"{concept.name}: the tuned model's own direction"
        pair = self.audit.pair
        with pair.model("tuned") as model, self.audit.progress.task(title, len(train)) as advance:
            blocks = model.config.get_text_config().num_hidden_layers
            layers = sorted({int(depth * (blocks - 1)) for depth in DEPTHS[self.audit.config.preset]})
            reading = read_concept(
                model,
                pair.tokenizer("tuned"),
                concept,
                layers,
                batch_size=self.audit.config.batch_size,
                progress=advance,
            )
        for p, position in enumerate(reading.positions):
            for k, layer in enumerate(layers, start=1):  # 0 are the embeddings
                points = _entities(reading.x_PLND[p, k], train)
                a, b = (torch.stack(list(points[label].values())).mean(0) for label in ("A", "B"))
                centre = (a + b) / 2 if suite.card.contrast else None
                every = torch.stack([point for own in points.values() for point in own.values()])
                where = f"{concept.label_a} - {concept.label_b} at the {position} token, block {layer}"
                yield _Direction(
                    f"{position} direction {layer}", where, Steering(layer, a - b, centre), every
                )


class _Direction(NamedTuple):
    """A direction of the tuned model's own."""

    set: str
    description: str
    steering: Steering
    entities_ED: Tensor
    """The points that it is the difference of: class A, then class B."""


def _entities(x_ND: np.ndarray[Any, Any], texts: tuple[Any, ...]) -> dict[str, dict[str, Tensor]]:
    """Mean over the texts of each entity: label -> entity -> point."""
    import torch

    rows: dict[str, dict[str, list[int]]] = {"A": {}, "B": {}}
    for row, text in enumerate(texts):
        rows[text.label].setdefault(text.entity, []).append(row)
    return {
        label: {entity: torch.from_numpy(x_ND[own]).mean(0).float() for entity, own in entities.items()}
        for label, entities in rows.items()
    }


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
