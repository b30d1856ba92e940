"""Dose-response: what each dose of an intervention brings back, chosen on one half and read on the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from audit.behaviours.suite import Item, Suite
from audit.causal.arms import FIT_DOSES, Arm
from audit.causal.interventions import intervened
from audit.causal.objective import Objective
from audit.causal.units import Layout
from audit.causal.weight_edits import WeightDeltas
from audit.errors import CheckpointError
from audit.measures.bootstrap import Estimate, FloatArray
from audit.measures.recovery import recovery
from audit.progress import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EQUAL = 0.1
"""Trials whose R on the fit half differ by less are about equal."""


class Trial(NamedTuple):
    """An arm at one dose."""

    arm: Arm
    dose: float


class Fitted(NamedTuple):
    """What a trial recovered on the fit half."""

    trial: Trial
    share: Estimate


@dataclass
class Bench:
    """The tuned model, one half of a suite, and the scores that every trial is held against."""

    model: PreTrainedModel
    layout: Layout
    deltas: WeightDeltas | None
    objective: Objective
    m_base: FloatArray
    m_tuned: FloatArray
    batch_size: int

    @contextmanager
    def under(self, trial: Trial) -> Iterator[None]:
        """For the length of a block, the model runs under a trial."""
        what = trial.arm.at(trial.dose)
        with intervened(self.model, self.layout, [what], trial.arm.deltas or self.deltas):
            yield

    def scores(self, trial: Trial) -> FloatArray | None:
        """Scores m of the items under a trial; None where they are not finite: the trial broke the model."""
        with self.under(trial):
            try:
                return self.objective.scores(self.model, self.batch_size).numpy()
            except CheckpointError:
                return None

    def recovered(
        self, trials: Sequence[Trial], *, draws: int, seed: int, progress: Advance = lambda done: None
    ) -> list[Estimate | None]:
        """The recovered share of each trial; None where it broke the model.

        Where the gap may be nothing, the shares come without bounds: good enough to choose by on the fit
        half, and to report as unbounded.
        """
        found = []
        for trial in trials:
            found.append(self.scores(trial))
            progress(len(self.objective))
        whole = [m for m in found if m is not None]
        own = shares_of(self.objective, self.m_base, self.m_tuned, whole, draws=draws, seed=seed)
        shares = iter(own)
        return [None if m is None else next(shares) for m in found]


def shares_of(
    objective: Objective,
    m_base: FloatArray,
    m_tuned: FloatArray,
    scores: Sequence[FloatArray],
    *,
    draws: int,
    seed: int,
) -> list[Estimate]:
    """The recovered share of each of some scores; without bounds where the gap may be nothing.

    Args:
        objective: the items, and how they add up.
        m_base: scores at which all is recovered.
        m_tuned: scores at which nothing is.
        scores: those that are read.
        draws: bootstrap resamples of entities.
        seed: of the resampling.
    """
    groups = np.array(objective.groups, dtype=object) if objective.contrast else None
    entities = np.array(objective.entities, dtype=object)
    found = recovery(
        m_base, m_tuned, scores, entities, group=groups, contrast=objective.contrast, draws=draws, seed=seed
    )
    if found.shares is not None:
        return list(found.shares)
    return [_unbounded(objective, m_base, m_tuned, m) for m in scores]


def _unbounded(objective: Objective, m_base: FloatArray, m_tuned: FloatArray, m: FloatArray) -> Estimate:
    """The recovered share of some scores without an interval; 0 where there is no gap at all."""
    base, tuned, now = (float(objective.effect(torch.from_numpy(scores))) for scores in (m_base, m_tuned, m))
    share = (now - tuned) / (base - tuned) if base != tuned else 0.0
    return Estimate(share, -math.inf, math.inf, len(set(objective.entities)))


def fit_trials(arms: Sequence[Arm]) -> list[Trial]:
    """Every arm at the doses among which the fit half chooses."""
    return [Trial(arm, dose) for arm in arms for dose in FIT_DOSES[arm.action]]


def nearest(fitted: Sequence[Fitted], count: int) -> list[Fitted]:
    """The trials that bring the behaviour nearest to the base's, best first; of equals the smallest set.

    Overshooting is as far off as falling short, so a trial that merely breaks something does not win.
    """

    def distance(f: Fitted) -> tuple[int, int, float]:
        away = abs(f.share.value - 1)
        return int(away / EQUAL), f.trial.arm.size, away

    return sorted(fitted, key=distance)[:count]


def fewer_items(suite: Suite, split: str, count: int) -> Suite:
    """The suite with at most `count` items of a split: of all groups and entities in turn."""
    rank: dict[str, int] = {}
    turn: dict[tuple[str | None, int], int] = {}
    ordered: list[tuple[int, int, Item]] = []
    for item in suite.items:
        if item.split != split:
            continue
        rank[item.entity] = own = rank.get(item.entity, -1) + 1
        turn[item.group, own] = place = turn.get((item.group, own), -1) + 1
        ordered.append((own, place, item))
    chosen = [item for _, _, item in sorted(ordered, key=lambda entry: entry[:2])[:count]]
    return suite.model_copy(update={"items": tuple(chosen)})
