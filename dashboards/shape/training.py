"""Steps, tokens and doses of a training or an attack in the shape that charts take."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

BY_POSITION = """
SELECT position, avg(weight) AS weight, quantile_cont(weight, 0.25) AS weight_low,
  quantile_cont(weight, 0.75) AS weight_high, avg(keep::INT) AS keep, avg(ratio) AS ratio,
  count(*) AS tokens
FROM tokens GROUP BY position ORDER BY position LIMIT 4096
"""
"""Query: how hard each place of a completion trained."""
BY_STEP = """
SELECT step, avg(weight) AS weight, avg(keep::INT) AS keep, avg(ratio) AS ratio,
  avg(abs(trainer_logp - sampler_logp)) AS staleness, count(*) AS tokens
FROM tokens GROUP BY step ORDER BY step LIMIT 20000
"""
"""Query: the same by optimiser step; staleness is |log trainer - log sampler|, nats."""
TOTAL = "total"


class Doses(NamedTuple):
    """One measure of an attack: on the way up, and on the way back."""

    attack: pd.DataFrame
    """Doses from 0, optimiser steps of the attack."""
    recovery: pd.DataFrame
    """Steps of realignment after it, as positive numbers."""


def totals(steps: pd.DataFrame) -> pd.DataFrame:
    """One row per step: that of the channel which the advantage saw, else of the first channel."""
    channels = steps["channel"].astype(str)
    chosen = TOTAL if (channels == TOTAL).any() else next(iter(sorted(set(channels))), TOTAL)
    return steps[channels == chosen].drop_duplicates("step").sort_values("step")


def doses_of(frame: pd.DataFrame, measure: str) -> Doses:
    """The doses of one measure; negative ones in the table are steps of realignment.

    Args:
        frame: the table `attack_doses`.
        measure: which.
    """
    part = frame[frame["measure"] == measure].sort_values(["arm", "dose", "seed"])
    back = part[part["dose"] < 0].assign(dose=lambda rows: -rows["dose"])
    return Doses(part[part["dose"] >= 0], back.sort_values(["arm", "dose", "seed"]))
