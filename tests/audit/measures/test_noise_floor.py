import numpy as np
import pytest

from audit.measures.noise_floor import noise_floor


def reload_noise(sequences: int, seed: int = 0) -> np.ndarray:
    """Per-step KL of rounding: the square of something Gaussian."""
    return 1e-6 * np.random.default_rng(seed).normal(size=(sequences, 12)) ** 2


def test_the_bound_is_seldom_below_the_true_floor() -> None:
    truth, above = 12e-6, 0
    for seed in range(200):
        floor = noise_floor(reload_noise(24, seed), np.ones((24, 12)), draws=500, seed=seed)
        assert floor.estimate.value == pytest.approx(truth, rel=0.5)
        above += floor.bound >= truth
    assert 184 <= above <= 200


def test_the_largest_step_counts_only_where_something_was_sampled() -> None:
    kl, mask = reload_noise(8), np.ones((8, 12), dtype=bool)
    kl[2, 5], kl[3, 5], mask[3, 5] = 0.5, 0.9, False
    assert noise_floor(kl, mask).per_step == 0.5


def test_a_floor_that_the_data_cannot_bound_has_no_end() -> None:
    assert noise_floor(reload_noise(3), np.ones((3, 12))).bound == np.inf


def test_nothing_sampled_is_refused() -> None:
    with pytest.raises(ValueError, match="no step was sampled"):
        noise_floor(reload_noise(4), np.zeros((4, 12)))
