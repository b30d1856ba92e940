"""Shares over organisms, with intervals that respect that children of one base resemble each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from audit.evidence.schema.documents import Estimate
from audit.measures import bootstrap

DRAWS = 4000


def share(hits: Sequence[bool], bases: Sequence[str], *, seed: int = 0) -> Estimate | None:
    """The share of hits, with a 95 % interval; None for no organism.

    The interval is a bootstrap over bases (Cameron, Gelbach and Miller 2008), expanded for few of them. Where
    every organism agrees, no resample differs; then it is the exact interval of Clopper and Pearson (1934)
    with the bases as its trials, for a base adds at least one independent trial.

    Args:
        hits: one per organism.
        bases: the base each descends from.
        seed: of the resampling.
    """
    if not hits:
        return None
    names = sorted(set(bases))
    value = sum(hits) / len(hits)
    if len(set(hits)) == 1:
        ends = binomtest(len(names) if hits[0] else 0, len(names)).proportion_ci(method="exact")
        return Estimate(value=value, low=float(ends.low), high=float(ends.high), n=len(names))
    place = {name: number for number, name in enumerate(names)}
    sums = np.zeros((len(names), 2))
    for hit, base in zip(hits, bases, strict=True):
        sums[place[base]] += (hit, 1)
    strata = np.zeros(len(names), dtype=np.int64)
    draws = bootstrap.resample_sums(sums, strata, DRAWS, seed)
    ratios = draws[:, :1] / np.maximum(draws[:, 1:], 1e-9)
    low, high = bootstrap.interval(np.clip(ratios, 0, 1), bootstrap.freedom(strata))
    return Estimate.of(bootstrap.Estimate(value, float(low[0]), float(high[0]), len(names)))
