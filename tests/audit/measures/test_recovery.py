"""The recovered share against planted scores: its value, its interval, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest

from audit.measures.effect import behaviour_effect
from audit.measures.recovery import recovery

RNG = np.random.default_rng(0)
ENTITY = np.repeat(np.arange(40), 3)
GROUP = np.where(ENTITY % 2 == 0, "high", "low")
SIGN = np.where(GROUP == "high", 1.0, -1.0)
BASE = 1.5 * SIGN + RNG.normal(0, 0.3, len(ENTITY))
TUNED = 0.25 * SIGN + RNG.normal(0, 0.3, len(ENTITY))


@pytest.mark.parametrize("share", [-0.5, 0.0, 0.4, 1.0, 1.3])
def test_a_planted_share_is_found(share: float) -> None:
    bypassed = TUNED + share * (BASE - TUNED)
    found = recovery(BASE, TUNED, [bypassed], ENTITY, group=GROUP, contrast=("high", "low"))
    assert found.shares is not None
    assert found.shares[0].value == pytest.approx(share, abs=1e-9)
    # A share that is the same for every entity is known exactly, whoever is resampled.
    assert found.shares[0].low == pytest.approx(share, abs=1e-9)
    assert found.shares[0].high == pytest.approx(share, abs=1e-9)
    assert found.shares[0].n == 40


def test_the_effects_of_both_models_make_the_gap() -> None:
    found = recovery(BASE, TUNED, [], ENTITY, group=GROUP, contrast=("high", "low"))
    b = [behaviour_effect(m, ENTITY, group=GROUP, contrast=("high", "low")).value for m in (BASE, TUNED)]
    assert found.gap.value == pytest.approx(b[0] - b[1])
    assert found.shares == ()


def test_the_interval_covers_the_truth() -> None:
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        base = 2.0 + rng.normal(0, 0.5, 30)
        tuned = rng.normal(0, 0.5, 30)
        bypassed = 1.0 + rng.normal(0, 0.5, 30)
        found = recovery(base, tuned, [bypassed], np.arange(30), draws=1000)
        assert found.shares is not None
        covered += found.shares[0].low <= 0.5 <= found.shares[0].high
    assert 88 <= covered <= 100


def test_no_share_of_a_gap_that_may_be_nothing() -> None:
    found = recovery(TUNED, TUNED + RNG.normal(0, 0.1, len(TUNED)), [BASE], ENTITY)
    assert found.gap.low <= 0 <= found.gap.high
    assert found.shares is None


def test_too_few_entities_bound_nothing_and_give_no_share() -> None:
    assert recovery([2.0, 2.1], [0.0, 0.1], [[1.0, 1.0]], ["a", "b"]).shares is None


def test_a_behaviour_that_grew_is_recovered_downwards() -> None:
    found = recovery(TUNED - 3, TUNED, [TUNED - 1.5], ENTITY)
    assert found.shares is not None
    assert found.gap.value < 0
    assert found.shares[0].value == pytest.approx(0.5)
