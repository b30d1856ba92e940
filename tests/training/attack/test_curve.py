from __future__ import annotations

import math

import pytest

from training.attack.curve import Crossing, crossing, half_life, median_half_life, smallest_dose


def test_a_crossing_lies_between_two_doses() -> None:
    assert crossing((0, 1, 5, 10), (0.3, 0.3, 0.5, 0.4), 0.45) == Crossing(1, 5)
    assert crossing((0, 1, 5), (0.3, 0.3, 0.44), 0.45) == Crossing(5, math.inf)
    assert crossing((0, 1), (0.5, 0.1), 0.45) == Crossing(0, 0)


def test_seeds_give_a_median_and_a_range_that_the_grid_widens() -> None:
    found = smallest_dose([Crossing(5, 10), Crossing(2, 5), Crossing(10, 25), Crossing(2, 5)])
    assert found is not None
    assert (found.value, found.low, found.high, found.n) == (5, 2, 25, 4)


def test_a_seed_that_never_crossed_leaves_the_range_open_and_out_of_the_median() -> None:
    found = smallest_dose([Crossing(5, 10), Crossing(50, math.inf), Crossing(2, 5)])
    assert found is not None
    assert (found.value, found.low, found.high, found.n) == (5, 2, math.inf, 2)
    assert smallest_dose([Crossing(50, math.inf)]) is None


@pytest.mark.parametrize("life", [1.5, 4.0, 9.0])
def test_the_half_life_of_an_exponential_is_found(life: float) -> None:
    steps = list(range(31))
    excess = [0.4 * 0.5 ** (step / life) for step in steps]
    assert half_life(steps, excess) == pytest.approx(life, abs=0.06)


def test_a_half_life_that_was_not_reached_is_none() -> None:
    assert half_life((0, 1, 5), (0.4, 0.39, 0.21)) is None
    assert half_life((0,), (0.4,)) is None
    assert half_life((0, 2), (0.4, -0.4)) == pytest.approx(0.5)
    assert median_half_life((2.0, None, 4.0)) == 4.0
    assert median_half_life((2.0, None, None)) is None
    assert median_half_life(()) is None
