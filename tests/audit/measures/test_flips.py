import numpy as np
import pytest
from scipy.stats import binom

from audit.measures.flips import benjamini_hochberg, count_flips


def test_the_four_counts() -> None:
    found = count_flips([1, 1, 1, -1, -1, -2], [1, -1, -1, 1, -1, -1])
    assert (found.both, found.stopped, found.started, found.neither) == (1, 2, 1, 2)
    assert found.items == 6


def test_p_value_is_mcnemars_exact_one() -> None:
    base, tuned = [1.0] * 12 + [-1.0] * 5, [-1.0] * 9 + [1.0] * 3 + [1.0] * 2 + [-1.0] * 3
    found = count_flips(base, tuned)
    assert (found.stopped, found.started) == (9, 2)
    assert found.p_value == pytest.approx(2 * binom.cdf(2, 11, 0.5))


def test_no_flip_gives_one_and_zero_does_not_show() -> None:
    assert count_flips([1.0, -1.0], [2.0, -3.0]).p_value == 1.0
    assert count_flips([1.0], [0.0]).stopped == 1


def test_in_a_contrast_the_low_group_shows_by_negative_scores() -> None:
    found = count_flips([1, -1, 5], [-1, 1, 5], group=["h", "l", None], contrast=("h", "l"))
    assert (found.stopped, found.items) == (2, 2)


def test_p_values_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    found = [count_flips(rng.normal(size=60), rng.normal(size=60)).p_value < 0.05 for _ in range(300)]
    assert np.mean(found) < 0.07


@pytest.mark.parametrize(
    ("base", "tuned", "kwargs", "text"),
    [
        ([1.0], [1.0, 2.0], {}, "shapes"),
        ([np.nan], [1.0], {}, "finite"),
        ([], [], {}, "no items"),
        ([1.0], [1.0], {"contrast": ("h", "l")}, "needs each item's group"),
        ([1.0], [1.0], {"contrast": ("h", "l"), "group": ["x"]}, "no items"),
    ],
)
def test_impossible_comparisons_are_refused(base, tuned, kwargs, text) -> None:
    with pytest.raises(ValueError, match=text):
        count_flips(base, tuned, **kwargs)


def test_benjamini_hochberg_by_hand() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert benjamini_hochberg([]).size == 0
