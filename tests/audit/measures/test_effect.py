import time

import numpy as np
import pandas as pd
import pytest

from audit.measures.effect import Estimate, behaviour_effect, paired_change

CONTRAST = ("high", "low")


def suite(rng: np.random.Generator, per_group: int, effect: float, items: int = 5, shift: float = 0.0):
    """Entities of two groups that differ by `effect`, with entity spread 1 and item noise 1."""
    entity = np.repeat(np.arange(2 * per_group), items)
    group = np.where(entity < per_group, "high", "low")
    centre = np.where(np.arange(2 * per_group) < per_group, effect, 0.0) + shift
    m = (centre + rng.normal(size=2 * per_group))[entity] + rng.normal(size=len(entity))
    return m, entity, group


def test_a_level_counts_entities_once() -> None:
    m = [1.0] * 10 + [0.0] + [2.0, 4.0]
    entity = ["a"] * 10 + ["b"] + ["c"] * 2
    assert behaviour_effect(m, entity).value == pytest.approx((1 + 0 + 3) / 3)


def test_a_contrast_ignores_items_of_other_groups() -> None:
    m = [3.0, 5.0, 1.0, 100.0, 100.0]
    group = ["high", "high", "low", "other", None]
    found = behaviour_effect(m, ["a", "b", "c", "d", "e"], group=group, contrast=CONTRAST)
    assert found.value == pytest.approx(3.0)
    assert found.n == 3


def test_an_entity_may_be_in_both_groups() -> None:
    rng = np.random.default_rng(0)
    entity = np.repeat(np.arange(20), 4)
    group = np.tile(["high", "high", "low", "low"], 20)
    own = rng.normal(scale=10, size=20)[entity]
    m = own + np.where(group == "high", 2.0, 0.0) + rng.normal(scale=0.1, size=80)
    found = behaviour_effect(m, entity, group=group, contrast=CONTRAST)
    assert found.low < 2.0 < found.high
    assert found.high - found.low < 0.2  # what the entity contributes to both sides cancels


@pytest.mark.parametrize("per_group", [12, 40])
def test_intervals_cover_the_planted_effect_and_change(per_group: int) -> None:
    rng = np.random.default_rng(per_group)
    covered = np.zeros(4)
    for seed in range(200):
        m, entity, group = suite(rng, per_group, effect=3.0)
        entity_noise = rng.normal(scale=0.3, size=2 * per_group)[entity]
        tuned = m - np.where(group == "high", 1.8, 0.0) + entity_noise
        found = paired_change(m, tuned, entity, group=group, contrast=CONTRAST, draws=1000, seed=seed)
        truths = (3.0, 1.2, -1.8, 0.6)
        parts = (found.base, found.tuned, found.change, found.lost_share)
        covered += [part.low <= truth <= part.high for part, truth in zip(parts, truths, strict=True)]
    assert (covered >= 180).all(), covered
    assert (covered <= 198).all(), covered


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_p_value_is_calibrated_and_blind_to_a_shift_of_both_groups(shift: float) -> None:
    rng = np.random.default_rng(9)
    rejected = found_real = 0
    for seed in range(200):
        m, entity, group = suite(rng, 12, effect=1.0)
        noise = rng.normal(scale=0.5, size=24)[entity]
        args = {"group": group, "contrast": CONTRAST, "draws": 10, "seed": seed}
        rejected += paired_change(m, m + shift + noise, entity, **args).p_value < 0.05
        real = np.where(group == "high", -1.0, 0.0)
        found_real += paired_change(m, m + shift + noise + real, entity, **args).p_value < 0.05
    assert 2 <= rejected <= 20
    assert found_real >= 190


def test_base_p_value_is_calibrated_one_sided_and_finds_effects() -> None:
    rng = np.random.default_rng(2)
    p_values = []
    for _ in range(300):
        m, entity, group = suite(rng, 12, effect=0.5)
        found = paired_change(m, m, entity, group=group, contrast=CONTRAST, null=0.5, draws=10)
        p_values.append(found.base_p_value)
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)
    m, entity, group = suite(rng, 24, effect=3.0)
    assert paired_change(m, m, entity, group=group, contrast=CONTRAST).base_above_null()
    assert not paired_change(-m, m, entity, group=group, contrast=CONTRAST).base_above_null()


def test_identical_models_change_by_exactly_nothing() -> None:
    m, entity, group = suite(np.random.default_rng(0), 12, effect=4.0)
    found = paired_change(m, m.copy(), entity, group=group, contrast=CONTRAST)
    assert found.change == Estimate(0.0, 0.0, 0.0, 24)
    assert found.lost_share == Estimate(0.0, 0.0, 0.0, 24)
    assert found.p_value == 1.0
    assert found.base == found.tuned


def test_a_shift_of_both_groups_is_no_change() -> None:
    m, entity, group = suite(np.random.default_rng(0), 12, effect=4.0)
    found = paired_change(m, m + 7.0, entity, group=group, contrast=CONTRAST)
    assert found.change.value == pytest.approx(0, abs=1e-12)
    assert found.p_value == 1.0


def test_one_entity_bounds_nothing() -> None:
    found = paired_change([1.0, 2.0], [0.0, 0.5], ["a", "a"])
    assert found.change.value == pytest.approx(-1.25)
    assert (found.change.low, found.change.high) == (-np.inf, np.inf)
    assert (found.p_value, found.base_p_value, found.lost_share) == (1.0, 1.0, None)
    same = paired_change([1.0, 2.0], [1.0, 2.0], ["a", "a"])
    assert (same.change.low, same.change.high) == (0.0, 0.0)


def test_constant_scores_have_an_interval_of_one_point() -> None:
    entity = np.repeat(np.arange(8), 3)
    found = paired_change(np.full(24, 2.0), np.full(24, 0.5), entity)
    assert (found.base.low, found.base.high) == pytest.approx((2.0, 2.0))
    assert (found.change.low, found.change.high) == pytest.approx((-1.5, -1.5))
    assert (found.lost_share.low, found.lost_share.high) == pytest.approx((0.75, 0.75))
    assert found.base_p_value == 0.0
    assert paired_change(np.full(24, 2.0), np.full(24, 2.0), entity, null=2.0).base_p_value == 1.0


def test_no_share_is_lost_of_an_effect_that_may_be_none() -> None:
    rng = np.random.default_rng(1)
    m, entity, group = suite(rng, 12, effect=0.0)
    found = paired_change(m, m - 1, entity, group=group, contrast=CONTRAST)
    assert found.base.low <= 0 <= found.base.high
    assert found.lost_share is None


def test_lost_share_is_measured_from_the_null() -> None:
    rng = np.random.default_rng(1)
    entity = np.repeat(np.arange(30), 4)
    m = 5.0 + rng.normal(scale=0.5, size=30)[entity]
    found = paired_change(m, m - 2.0, entity, null=1.0)
    assert found.lost_share.value == pytest.approx(2 / 4, abs=0.05)
    assert found.lost_share.low < found.lost_share.value < found.lost_share.high


@pytest.mark.parametrize(
    ("m", "entity", "group", "contrast", "text"),
    [
        ([], [], None, None, "no items"),
        ([1.0], [None], None, None, "without an entity"),
        ([1.0, 2.0], ["a"], None, None, "shape"),
        ([1.0, np.nan], ["a", "b"], None, None, "1 of 2 scores are not finite"),
        ([1.0], ["a"], None, CONTRAST, "needs each item's group"),
        ([1.0], ["a"], ["high", "low"], CONTRAST, "2 groups for 1 items"),
        ([1.0, 2.0], ["a", "b"], ["high", "high"], CONTRAST, "'low'"),
        ([1.0, 2.0], ["a", "b"], ["low", None], CONTRAST, "'high'"),
    ],
)
def test_impossible_suites_are_refused(m, entity, group, contrast, text) -> None:
    with pytest.raises(ValueError, match=text):
        behaviour_effect(m, entity, group=group, contrast=contrast)


def test_columns_of_a_frame_are_taken_as_they_are() -> None:
    frame = pd.DataFrame({"m": [1.0, 3.0, 0.0], "entity": ["a", "b", "c"], "group": ["high", "low", None]})
    found = behaviour_effect(frame.m, frame.entity, group=frame.group, contrast=CONTRAST)
    assert found.value == -2.0


def test_a_suite_of_300_items_takes_less_than_a_second() -> None:
    m, entity, group = suite(np.random.default_rng(0), 30, effect=1.0)
    start = time.process_time()
    paired_change(m, m - 0.1 * m, entity, group=group, contrast=CONTRAST, draws=4000)
    assert time.process_time() - start < 1.0


def test_the_gained_share_is_the_lost_share_with_the_models_exchanged() -> None:
    rng = np.random.default_rng(3)
    entity = [f"e{i}" for i in range(12)]
    less, more = rng.normal(0.2, 0.1, 12), rng.normal(2.0, 0.2, 12)
    rose, fell = paired_change(less, more, entity, seed=1), paired_change(more, less, entity, seed=1)
    assert rose.gained_share == fell.lost_share
    assert rose.gained_share is not None
    assert rose.gained_share.value == pytest.approx(1 - less.mean() / more.mean())
    assert paired_change(more, rng.normal(0, 1, 12), entity).gained_share is None
