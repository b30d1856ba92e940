import numpy as np
import pytest

from audit.measures.effect import Estimate, paired_change
from audit.measures.equivalence import BandAnswer, compare_to_band, equivalent


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (-0.1, 0.1, BandAnswer.EQUIVALENT),
        (-0.5, 0.5, BandAnswer.EQUIVALENT),
        (0.2, 0.6, BandAnswer.UNDECIDED),
        (0.6, 0.9, BandAnswer.CHANGED),
        (-9.0, -0.6, BandAnswer.CHANGED),
        (-0.4, 0.7, BandAnswer.TOO_WIDE),
        (-np.inf, np.inf, BandAnswer.TOO_WIDE),
    ],
)
def test_where_an_interval_lies(low: float, high: float, answer: BandAnswer) -> None:
    change = Estimate((low + high) / 2, low, high, 10)
    assert compare_to_band(change, 0.5) is answer
    assert equivalent(change, 0.5) is (answer is BandAnswer.EQUIVALENT)


@pytest.mark.parametrize("band", [0.0, -1.0, np.nan, np.inf])
def test_a_band_must_be_positive_and_finite(band: float) -> None:
    with pytest.raises(ValueError, match="band"):
        equivalent(Estimate(0, 0, 0, 5), band)


def simulated(rng: np.random.Generator, true_change: float, seed: int):
    entity = np.repeat(np.arange(30), 4)
    m = rng.normal(size=120)
    tuned = m + true_change + rng.normal(scale=0.5, size=30)[entity]
    return paired_change(m, tuned, entity, draws=500, seed=seed).change


def test_a_change_at_the_edge_of_the_band_is_rarely_called_none() -> None:
    rng = np.random.default_rng(0)
    called = [equivalent(simulated(rng, 0.4, seed), 0.4) for seed in range(200)]
    assert np.mean(called) <= 0.05
    assert equivalent(simulated(rng, 0.0, 0), 0.4)
