"""Directions planted in noise: known cosine, known norm, and noise in which nothing is to be measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audit.measures.directions import compare_directions

IS_A = np.arange(48) % 2 == 0
Array = np.ndarray[Any, np.dtype[np.float64]]


def planted(
    rng: np.random.Generator, *, angle: float = 0.0, norm: float = 1.0, signal: float = 6.0, width: int = 200
) -> tuple[Array, Array]:
    """Entities in base and tuned with noise of their own; the tuned direction is rotated and scaled."""
    side = np.where(IS_A, 0.5, -0.5)
    base, tuned = np.zeros((2, width))
    base[0] = signal
    tuned[:2] = signal * norm * np.cos(angle), signal * norm * np.sin(angle)
    noise = rng.normal(size=(2, len(IS_A), width))
    return np.outer(side, base) + noise[0], np.outer(side, tuned) + noise[1]


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.2])
def test_a_rotation_is_measured_free_of_noise(angle: float) -> None:
    rng = np.random.default_rng(0)
    found = [compare_directions(*planted(rng, angle=angle), IS_A, seed=i) for i in range(40)]
    assert all(f.measurable for f in found)
    assert np.mean([f.corrected_cosine for f in found]) == pytest.approx(np.cos(angle), abs=0.03)
    raw = np.mean([f.cosine.value for f in found if f.cosine])
    ceiling = np.mean([f.ceiling for f in found])
    assert raw == pytest.approx(np.cos(angle) * ceiling, abs=0.03), "independent noise: the ceiling binds"


def test_the_ceiling_is_the_reliability_that_theory_gives() -> None:
    """|signal|^2 over |signal|^2 + noise: an entity mean per class of 24 has variance 4 / 48 per entry."""
    rng = np.random.default_rng(1)
    found = [compare_directions(*planted(rng), IS_A, seed=i).reliability_base for i in range(60)]
    assert np.mean(found) == pytest.approx(36 / (36 + 200 * 4 / 48), abs=0.02)


def test_a_scaled_direction_has_its_norm_ratio() -> None:
    rng = np.random.default_rng(2)
    pairs = [planted(rng, signal=20.0, norm=0.5) for _ in range(100)]
    found = [compare_directions(base, tuned, IS_A, halves=20) for base, tuned in pairs]
    ratios = [f.norm_ratio for f in found if f.norm_ratio]
    assert np.mean([f.corrected_norm_ratio for f in found]) == pytest.approx(0.5, abs=0.01)
    noisy = np.sqrt((100 + 200 / 12) / (400 + 200 / 12))
    assert np.mean([r.value for r in ratios]) == pytest.approx(noisy, abs=0.01)
    assert np.mean([r.low <= noisy <= r.high for r in ratios]) >= 0.9


def test_an_erased_direction_keeps_noise_and_no_signal() -> None:
    rng = np.random.default_rng(3)
    found = [compare_directions(*planted(rng, norm=0.0), IS_A, seed=i) for i in range(20)]
    assert not any(f.measurable for f in found)
    assert all(f.corrected_cosine is None for f in found)
    assert np.mean([f.corrected_norm_ratio for f in found]) < 0.25
    assert min(f.norm_ratio.value for f in found if f.norm_ratio) > 0.4, "noise looks like a direction"


def test_pure_noise_is_not_measurable() -> None:
    rng = np.random.default_rng(4)
    found = [compare_directions(*planted(rng, signal=0.0), IS_A, seed=i) for i in range(40)]
    assert sum(f.measurable for f in found) == 0
    assert np.mean([f.reliability_base for f in found]) < 0.1
    assert any(f.ceiling is None for f in found), "a reliability that is not positive has no ceiling"


def test_shared_noise_makes_a_cosine_without_meaning() -> None:
    """Two models that read the same texts agree on the noise: cosine near 1, and still not measurable."""
    rng = np.random.default_rng(5)
    base, _ = planted(rng, signal=0.0)
    found = compare_directions(base, base + 0.05 * rng.normal(size=base.shape), IS_A)
    assert found.cosine is not None
    assert found.cosine.value > 0.98
    assert not found.measurable


def test_a_model_against_itself() -> None:
    base, _ = planted(np.random.default_rng(6))
    found = compare_directions(base, base.copy(), IS_A)
    assert found.cosine is not None
    assert found.norm_ratio is not None
    for estimate in (found.cosine, found.norm_ratio):
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1, 1, 1))
    assert found.variance_ratio == pytest.approx(1)
    assert found.corrected_cosine == pytest.approx(1)


def test_the_variance_along_the_direction() -> None:
    rng = np.random.default_rng(7)
    base, tuned = planted(rng, signal=30.0)
    tuned[:, 0] += 3 * rng.normal(size=len(IS_A))
    found = compare_directions(base, tuned, IS_A)
    assert found.variance_ratio == pytest.approx(10, rel=0.5)


def test_too_few_entities_and_no_variation() -> None:
    x = np.random.default_rng(8).normal(size=(7, 5))
    few = compare_directions(x, x, np.arange(7) < 3)
    assert not few.measurable
    assert few.cosine is None
    flat = compare_directions(np.ones((48, 5)), np.ones((48, 5)), IS_A)
    assert (flat.cosine, flat.reliability_base, flat.variance_ratio) == (None, None, None)
    with pytest.raises(ValueError, match="48 entities"):
        compare_directions(x, x, IS_A)


def test_huge_common_activations_cancel() -> None:
    """A massive entry that all texts share would swamp the inner products if it were not centred away."""
    base, tuned = planted(np.random.default_rng(9))
    shifted = compare_directions(base + 1e6, tuned + 1e6, IS_A)
    plain = compare_directions(base, tuned, IS_A)
    assert shifted.corrected_cosine == pytest.approx(plain.corrected_cosine, abs=1e-6)
