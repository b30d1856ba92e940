"""One behaviour's bypass: trials on the fit half, the chosen ones and their controls on the held-out half.

Results are rows of the table `doses`, so that long work can be kept in parts and the result be read off them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
import pandas as pd

from audit.behaviours.suite import Suite
from audit.causal.arms import SLICED, Against, Arm, controls_of, curve
from audit.causal.doses import Bench, Fitted, Trial, fewer_items, fit_trials, nearest
from audit.causal.objective import Objective
from audit.causal.off_target import OffTarget, off_target
from audit.causal.traits import SlicedKind, activity_of, traits_of
from audit.causal.units import Layout
from audit.causal.weight_edits import WeightDeltas
from audit.evidence.schema import TABLES
from audit.measures.bootstrap import Estimate, FloatArray
from audit.progress import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from sae.types import Pair

Group = Literal["internal", "latents", "gates", "rewire", "revert", "reading_base"]
SHORTLIST: dict[Group, int] = {
    "internal": 3, "latents": 2, "gates": 1, "rewire": 2, "revert": 2, "reading_base": 1
}  # fmt: skip
"""Trials per group whose side effects are measured before one is chosen: the first inside the budgets."""

LEARNED: dict[str, Group] = {"latents": "latents", "gate": "gates", "rewire": "rewire"}
"""Actions that are reported beside the others rather than chosen among them."""
CHOOSING, REPORTED = slice(0, None, 2), slice(1, None, 2)
"""Of the unrelated text: what a trial is chosen by, and what its side effects are reported on."""


@dataclass(frozen=True)
class Effort:
    """Counts, seed and batch size of a bypass."""

    fit_items: int
    """Items of the fit half on which every trial is run."""
    random_sets: dict[Group, int]
    """Controls of each chosen trial."""
    draws: int
    seed: int
    batch_size: int


class Other(NamedTuple):
    """Another suite of the run, on which a bypass should not tell."""

    objective: Objective
    band: float
    """Its equivalence band, nats."""


@dataclass(frozen=True)
class Setting:
    """One suite as it is asked."""

    suite: Suite
    template_name: str
    template: str | None
    tokenizer: PreTrainedTokenizerBase
    vocabulary: int
    held_items: int | None = None
    """Items of the held-out half that are used, at most; None: all."""

    def objective(self, split: Literal["train", "test"], items: int | None = None) -> Objective:
        """One half of the suite, or some items of it."""
        if items is None and split == "test":
            items = self.held_items
        suite = self.suite if items is None else fewer_items(self.suite, split, items)
        return Objective.of(
            suite, self.tokenizer, template=self.template, split=split, vocabulary=self.vocabulary
        )


def group_of(arm: Arm) -> Group:
    """Which of the chosen trials an arm may become."""
    if arm.whole.reads_base:
        return "reading_base"
    if arm.action in LEARNED:
        return LEARNED[arm.action]
    return "revert" if arm.whole.imports_base else "internal"


@dataclass
class Bypass:
    """Everything that the trials of one behaviour need."""

    pair: Pair
    setting: Setting
    arms: Sequence[Arm]
    deltas: WeightDeltas | None
    documents: Sequence[Sequence[int]]
    """Unrelated text, token ids: every other one helps to choose, the rest is reported."""
    others: Sequence[Other]
    effort: Effort

    @cached_property
    def fit(self) -> Objective:
        """The items that choose."""
        return self.setting.objective("train", self.effort.fit_items)

    @cached_property
    def held(self) -> Objective:
        """The items that are reported."""
        return self.setting.objective("test")

    def fit_rows(self, progress: Advance = lambda done: None) -> pd.DataFrame:
        """Every arm at every dose, on the fit half."""
        trials = fit_trials(self.arms)
        m_base = self._base_scores(self.fit)
        with self.pair.model("tuned") as model:
            bench = self._bench(model, self.fit, m_base)
            shares = self._recovered(bench, trials, progress)
        rows = [self._row(t, "train", share) for t, share in zip(trials, shares, strict=True)]
        return _frame(rows)

    def held_rows(self, fit_rows: pd.DataFrame, progress: Advance = lambda done: None) -> pd.DataFrame:
        """Dose-response, controls and side effects of what the fit half chose, on the held-out half."""
        m_base = self._base_scores(self.held)
        with self.pair.model("tuned") as model:
            bench = self._bench(model, self.held, m_base)
            rows = [row for pick in self._picks(bench, fit_rows) for row in self._of(bench, pick, progress)]
        return _frame(rows)

    @property
    def fit_work(self) -> int:
        """Items that `fit_rows` runs under trials."""
        return len(fit_trials(self.arms)) * len(self.fit)

    def held_work(self, fit_rows: pd.DataFrame) -> int:
        """Items that `held_rows` runs under trials, at most."""
        groups = {group_of(self._trial(row).arm) for _, row in fit_rows.dropna(subset="recovered").iterrows()}
        return sum(3 + self.effort.random_sets[group] for group in groups) * len(self.held)

    def _base_scores(self, objective: Objective) -> FloatArray:
        with self.pair.model("base") as model:
            return objective.scores(model, self.effort.batch_size).numpy()

    def _bench(self, model: PreTrainedModel, objective: Objective, m_base: FloatArray) -> Bench:
        m_tuned = objective.scores(model, self.effort.batch_size).numpy()
        return Bench(model, Layout(model), self.deltas, objective, m_base, m_tuned, self.effort.batch_size)

    def _recovered(self, bench: Bench, trials: Sequence[Trial], progress: Advance) -> list[Estimate | None]:
        draws, seed = self.effort.draws, self.effort.seed
        return bench.recovered(trials, draws=draws, seed=seed, progress=progress)

    def _picks(self, bench: Bench, fit_rows: pd.DataFrame) -> list[_Pick]:
        """Of each group the trial nearest to the base inside the budgets; if none is, the nearest."""
        fitted = [
            Fitted(self._trial(row), Estimate(row["recovered"], row["low"], row["high"], 0))
            for _, row in fit_rows.dropna(subset="recovered").iterrows()
        ]
        short = {
            group: nearest([f for f in fitted if group_of(f.trial.arm) == group], size)
            for group, size in SHORTLIST.items()
        }
        trials = [f.trial for some in short.values() for f in some]
        costs = dict(zip(map(id, trials), self._costs(bench, trials, CHOOSING), strict=True))
        picks: dict[Group, Trial] = {}
        for group, some in short.items():
            inside = [f.trial for f in some if costs[id(f.trial)].inside]
            if some:
                picks[group] = inside[0] if inside else some[0].trial
        reported = self._costs(bench, list(picks.values()), REPORTED)
        return [_Pick(*pick, cost) for pick, cost in zip(picks.items(), reported, strict=True)]

    def _costs(self, bench: Bench, trials: Sequence[Trial], half: slice) -> list[OffTarget]:
        if not trials:
            return []
        return off_target(
            bench.model,
            self.documents[half],
            [partial(bench.under, trial) for trial in trials],
            batch_size=self.effort.batch_size,
            vocabulary=self.setting.vocabulary,
            draws=self.effort.draws,
            seed=self.effort.seed,
        )

    def _of(self, bench: Bench, pick: _Pick, progress: Advance) -> list[dict[str, Any]]:
        """Rows of one chosen trial: its dose-response, then its controls at the chosen dose."""
        arm, dose = pick.trial
        against = self._against(bench, pick)
        trials = [Trial(arm, d) for d in curve(arm.action, dose)]
        controls = [Trial(control, dose) for control in against.arms]
        shares = self._recovered(bench, [*trials, *controls], progress)
        rows = []
        for trial, share in zip(trials, shares, strict=False):
            chosen = trial.dose == dose
            extra = self._of_chosen(bench, pick, against) if chosen else {}
            rows.append(self._row(trial, "test", share, chosen=chosen, **extra))
        for i, (trial, share) in enumerate(zip(controls, shares[len(trials) :], strict=True)):
            match = {"match_norm": against.norm, "match_activity": against.activity}
            name = {"set": f"{arm.set}: control {i + 1}", "description": against.kind}
            rows.append(self._row(trial, "test", share, is_null=True, **name, **match))
        return rows

    def _of_chosen(self, bench: Bench, pick: _Pick, against: Against) -> dict[str, Any]:
        cost = pick.cost
        return {
            "off_target_kl": cost.kl and cost.kl.value,
            "off_target_low": cost.kl and cost.kl.low,
            "off_target_high": cost.kl and cost.kl.high,
            "skills": cost.skills,
            "other_suites": self._shift(bench, pick.trial),
            "note": against.note,
        }

    def _shift(self, bench: Bench, trial: Trial) -> float | None:
        """Largest mean |change of m| on another suite, in its bands; infinite where the model breaks."""
        shifts = []
        for other in self.others:
            plain = Bench(
                bench.model,
                bench.layout,
                self.deltas,
                other.objective,
                np.empty(0),
                np.empty(0),
                bench.batch_size,
            )
            tuned = other.objective.scores(bench.model, bench.batch_size).numpy()
            bypassed = plain.scores(trial)
            shift = np.inf if bypassed is None else float(np.abs(bypassed - tuned).mean())
            shifts.append(shift / other.band)
        return max(shifts, default=None)

    def _against(self, bench: Bench, pick: _Pick) -> Against:
        arm, count = pick.trial.arm, self.effort.random_sets[pick.group]
        kinds = sorted({unit.kind for unit in arm.whole.units})
        deltas = self.deltas if arm.action == "revert" else None
        traits = None
        if kinds and set(kinds) <= set(SLICED):
            activity = activity_of(
                bench.model,
                bench.layout,
                self.documents[CHOOSING],
                batch_size=self.effort.batch_size,
                rows="row" in kinds,
            )
            traits = traits_of(bench.model, bench.layout, cast(list[SlicedKind], kinds), activity, deltas)
        return controls_of(arm, traits, deltas, count=count, seed=self.effort.seed)

    def _trial(self, row: Any) -> Trial:
        found = (a for a in self.arms if (a.set, a.action) == (row["set"], row["intervention"]))
        return Trial(next(found), float(row["dose"]))

    def _row(self, trial: Trial, split: str, share: Estimate | None, **extra: Any) -> dict[str, Any]:
        arm = trial.arm
        known = {
            "behaviour": self.setting.suite.card.name,
            "template": self.setting.template_name,
            "split": split,
            "intervention": arm.action,
            "set": arm.set,
            "description": arm.description,
            "size": arm.size,
            "dose": trial.dose,
            "recovered": share and share.value,
            "low": share.low if share and share.bounded else None,
            "high": share.high if share and share.bounded else None,
            "is_null": False,
            "chosen": False,
            "reads_base": arm.whole.reads_base,
            "imports_base": arm.whole.imports_base,
        }
        empty = {column.name: None for column in TABLES["doses"].columns if column.name not in known}
        return {**known, **empty, **extra}


class _Pick(NamedTuple):
    group: Group
    trial: Trial
    cost: OffTarget


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    columns = [column.name for column in TABLES["doses"].columns]
    return pd.DataFrame(rows, columns=columns)
