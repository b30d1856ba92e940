"""How sure a verdict may be, by its margin, and whether what it says of itself is so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from audit.calibration import Certainty, Thresholds
from audit.evidence.schema.results import ReliabilityBin
from audit.selftest.cell import Found
from audit.selftest.fit import fit
from audit.selftest.plan import APART
from audit.verdict import decide

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Edges of the reliability diagram's bins of stated confidence."""


def certainty_of(found: Sequence[Found], start: Thresholds) -> Certainty | None:
    """P(right | margin) by Platt's method (1999, with his smoothed targets), each base judged by the others.

    The margins of one base come from thresholds that were fitted without it, so that they are as thin as
    those of a model that nobody fitted on. None with fewer than two bases, or none decided.
    """
    margins, right = [], []
    for base in sorted({one.base for one in found}):
        others = [one for one in found if one.base != base]
        thresholds = fit(others, start)
        own = [one for one in found if one.base == base and one.valid and one.expected not in APART]
        for one in own if others else ():
            judged = decide(one.evidence, thresholds)
            if judged.verdict != "INCONCLUSIVE" and judged.margin is not None:
                margins.append(judged.margin)
                right.append(judged.verdict == one.expected)
    return platt(margins, right)


def platt(margins: Sequence[float], right: Sequence[bool]) -> Certainty | None:
    """Logistic regression of being right on the margin; a slope below 0 becomes 0. None without any."""
    from sklearn.linear_model import LogisticRegression

    if not margins:
        return None
    good, bad = sum(right), len(right) - sum(right)
    targets = np.where(right, (good + 1) / (good + 2), 1 / (bad + 2))
    if len(set(margins)) > 1:
        twice = np.tile(np.asarray(margins, dtype=float), 2)[:, None]
        classes = np.repeat([1, 0], len(margins))
        weights = np.concatenate([targets, 1 - targets])
        model = LogisticRegression(C=np.inf, max_iter=1000).fit(twice, classes, sample_weight=weights)
        if model.coef_[0, 0] >= 0:
            return Certainty(intercept=float(model.intercept_[0]), slope=float(model.coef_[0, 0]))
    mean = float(targets.mean())
    return Certainty(intercept=float(np.log(mean / (1 - mean))), slope=0.0)


def reliability(stated: Sequence[float], right: Sequence[bool]) -> list[ReliabilityBin]:
    """The reliability diagram: in each bin of stated confidence, how often the verdict was right."""
    placed = np.clip(np.digitize(stated, BINS) - 1, 0, len(BINS) - 2)
    return [
        _bin(np.asarray(stated)[placed == one], np.asarray(right)[placed == one])
        for one in sorted(set(placed))
    ]


def _bin(stated: FloatArray, right: BoolArray) -> ReliabilityBin:
    ends = binomtest(int(right.sum()), len(right)).proportion_ci(method="exact")
    return ReliabilityBin(
        stated=float(stated.mean()),
        right=float(right.mean()),
        low=float(ends.low),
        high=float(ends.high),
        n=len(right),
    )
