from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from audit.selftest.rates import share


def test_no_organism_has_no_share() -> None:
    assert share([], []) is None


@pytest.mark.parametrize(("hit", "value"), [(True, 1.0), (False, 0.0)])
def test_where_all_agree_the_bases_are_the_trials(hit: bool, value: float) -> None:
    found = share([hit] * 120, [f"base-{number // 2}" for number in range(120)])
    assert found is not None
    assert (found.value, found.n) == (value, 60)
    end = beta.ppf(0.975, 1, 60)  # Clopper-Pearson of 0 of 60
    far = found.low if hit else found.high
    assert far == pytest.approx(1 - end if hit else end)


def test_clusters_widen_the_interval() -> None:
    """Ten children of a base that are all alike are one trial, not ten."""
    hits = [base % 3 > 0 for base in range(30) for _ in range(10)]
    clustered = share(hits, [f"base-{base}" for base in range(30) for _ in range(10)])
    single = share(hits, [f"child-{number}" for number in range(300)])
    assert clustered is not None
    assert single is not None
    assert clustered.value == single.value == pytest.approx(2 / 3)
    width = [(found.high or 0) - (found.low or 0) for found in (clustered, single)]
    assert width[0] == pytest.approx(width[1] * np.sqrt(10), rel=0.15)


def test_the_interval_covers_a_planted_rate() -> None:
    rng, covered = np.random.default_rng(5), 0
    for draw in range(60):
        rates = rng.beta(8, 2, size=40)  # each base has a rate of its own around .8
        hits = [bool(rng.random() < rate) for rate in rates for _ in range(3)]
        found = share(hits, [f"base-{b}" for b in range(40) for _ in range(3)], seed=draw)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.8 <= found.high
    assert covered >= 52, "95 % intervals cover at least about 57 of 60"


def test_few_bases_that_disagree_bound_nothing() -> None:
    found = share([True, False, True], ["a", "b", "c"])
    assert found is not None
    assert (found.low, found.high) == (None, None)
