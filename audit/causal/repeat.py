"""The chosen interventions of one behaviour of a finished run, made again through nnsight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from audit.behaviours.suite import Suite
from audit.causal.bypass import Setting
from audit.causal.gates import read_gates
from audit.causal.interventions import READABLE, Intervention
from audit.causal.objective import Objective
from audit.causal.sets import named_sets
from audit.causal.steering_file import load_steering
from audit.causal.traced import Traced
from audit.causal.weight_edits import WeightDeltas
from audit.evidence.run import RunFolder
from audit.progress import Advance

if TYPE_CHECKING:
    import pandas as pd

NO_WEIGHTS = "it takes back weight changes, for which both checkpoints have to be on this machine"
NO_DIRECTION = "the run does not hold its direction"
NO_GATES = "the run does not hold its gates"
NO_DICTIONARY = "it needs a dictionary where the model runs"


@dataclass(frozen=True)
class Repeat:
    """One chosen intervention of a run, and what it gives now."""

    behaviour: str
    intervention: str
    set: str
    dose: float
    recovered: float | None
    """R in the run, on the held-out half; None: it broke the model."""
    repeated: float | None
    """R of the same items now, b of the base as in the run; None: `why_not` says why."""
    why_not: str | None = None


class Bench(NamedTuple):
    """The tuned model behind nnsight, and what asks it."""

    model: Traced
    deltas: WeightDeltas | None
    """The weight changes; None where the checkpoints are elsewhere."""
    tokenizer: Any
    templates: dict[str, str | None]


class Repeats(NamedTuple):
    """One behaviour."""

    untouched: float
    """Largest difference of an item's score from the run's without an intervention, nats."""
    rows: list[Repeat]


@dataclass
class Repeater:
    """One behaviour of a run, on its held-out items."""

    run: RunFolder
    suite: Suite
    bench: Bench
    template: str
    """Form in which the run asked it."""
    batch_size: int
    held_items: int | None = None
    """Held-out items that the run used, at most."""

    def __post_init__(self) -> None:
        vocabulary = self.run.result("preflight").shared_vocabulary
        template = self.bench.templates[self.template]
        asked = (self.suite, self.template, template, self.bench.tokenizer, vocabulary)
        setting = Setting(*asked, self.held_items)
        self.objective: Objective = setting.objective("test")
        doses = self.run.table("bypass", "doses")
        self.chosen: pd.DataFrame = doses[(doses["behaviour"] == self.name) & doses["chosen"]]

    @property
    def name(self) -> str:
        """The behaviour's."""
        return self.suite.card.name

    @property
    def work(self) -> int:
        """Items that run, at most."""
        return len(self.objective) * (1 + len(self.chosen))

    def repeats(self, progress: Advance) -> Repeats:
        """Every chosen intervention; `progress` is called with the number of items done."""
        base, tuned = (self._recorded(side) for side in ("base", "tuned"))
        plain = self._scores(progress)
        rows = [self._repeat(row, base, plain, progress) for _, row in self.chosen.iterrows()]
        return Repeats(float((plain - tuned).abs().max()), rows)

    def _repeat(self, row: pd.Series, base: torch.Tensor, plain: torch.Tensor, progress: Advance) -> Repeat:
        recovered = float(row["recovered"])
        share, what = None, self._intervention(row)
        if isinstance(what, Intervention):
            effect = self.objective.effect
            with self.bench.model.under([what], self.bench.deltas):
                now = effect(self._scores(progress))
            share = float((now - effect(plain)) / (effect(base) - effect(plain)))
        return Repeat(
            behaviour=self.name,
            intervention=row["intervention"],
            set=row["set"],
            dose=float(row["dose"]),
            recovered=recovered if recovered == recovered else None,
            repeated=share,
            why_not=what if isinstance(what, str) else None,
        )

    def _intervention(self, row: pd.Series) -> Intervention | str:
        """What a row of the table `doses` did, or why it cannot be done here."""
        action, dose = row["intervention"], float(row["dose"])
        if action in ("steer", "amplify", "rewire"):
            kept = load_steering(self.run.stage_path("bypass") / "directions" / f"{self.name}.safetensors")
            steering = kept.get(row["set"])
            return NO_DIRECTION if steering is None else Intervention(action, dose, steering=steering)
        if action == "latents":
            return NO_DICTIONARY
        if action == "gate":
            gates = read_gates(self.run.stage_path("bypass") / "gates" / f"{self.name}.json")
            units, values = tuple(gate.unit for gate in gates), tuple(gate.value for gate in gates)
            return Intervention(action, dose, units, strengths=values) if gates else NO_GATES
        if action == "revert":
            return NO_WEIGHTS if self.bench.deltas is None else Intervention(action, dose, self._units(row))
        return Intervention(action, dose, tuple(u for u in self._units(row) if u.kind in READABLE))

    def _units(self, row: pd.Series) -> Any:
        suites = self.run.result("behaviour").suites
        change = next(found.primary.change.value for found in suites if found.name == self.name)
        units, switches = self.run.table("switches", "units"), self.run.result("switches")
        sets = named_sets(units, self.name, change, switches)
        return next(found.units for found in sets if found.name == row["set"])

    def _scores(self, progress: Advance) -> torch.Tensor:
        model: Any = self.bench.model  # called as a model of transformers is
        return self.objective.scores(model, self.batch_size, progress)

    def _recorded(self, side: str) -> torch.Tensor:
        """Scores m of the items in the run."""
        items = self.run.table("behaviour", "items")
        own = items[
            (items["suite"] == self.name) & (items["template"] == self.template) & (items["model"] == side)
        ]
        return torch.tensor(own.set_index("item")["m"].loc[list(self.objective.items)].to_numpy())
