import numpy as np
import pytest

from audit.measures.reliability import split_half_reliability


def scores(rng: np.random.Generator, entities: int, items: int, spread: float, noise: float):
    entity = np.repeat(np.arange(entities), items)
    return spread * rng.normal(size=entities)[entity] + noise * rng.normal(size=len(entity)), entity


@pytest.mark.parametrize(
    ("spread", "noise", "items"), [(1.0, 1.0, 6), (1.0, 2.0, 6), (0.5, 2.0, 5), (2.0, 1.0, 4)]
)
def test_it_is_the_analytic_reliability(spread: float, noise: float, items: int) -> None:
    rng = np.random.default_rng(3)
    found = split_half_reliability(*scores(rng, 2000, items, spread, noise), splits=50)
    assert found.value == pytest.approx(spread**2 / (spread**2 + noise**2 / items), abs=0.04)
    assert found.entities == 2000


def test_pure_noise_is_not_reliable() -> None:
    rng = np.random.default_rng(0)
    found = [split_half_reliability(*scores(rng, 48, 6, 0.0, 1.0), splits=50).value for _ in range(40)]
    assert np.mean(found) == pytest.approx(0, abs=0.08)
    assert np.mean(np.array(found) >= 0.5) <= 0.05


def test_a_group_difference_is_signal_overall_and_none_within() -> None:
    rng = np.random.default_rng(1)
    m, entity = scores(rng, 400, 6, 0.0, 1.0)
    group = np.where(entity < 200, "high", "low")
    found = split_half_reliability(m + 2.0 * (group == "high"), entity, group=group)
    assert found.value == pytest.approx(
        1 / (1 + 1 / 6), abs=0.04
    )  # a shift of 2 between halves has variance 1
    assert found.within_group == pytest.approx(0, abs=0.15)


def test_entities_that_repeat_are_reliable_without_an_effect() -> None:
    rng = np.random.default_rng(1)
    m, entity = scores(rng, 400, 6, 1.0, 0.5)
    found = split_half_reliability(m, entity, group=np.where(entity % 2, "high", "low"))
    assert found.value > 0.9
    assert found.within_group > 0.9


@pytest.mark.parametrize(("mean", "spread", "noise"), [(1.0, 0.0, 2.0), (0.5, 0.5, 2.0), (2.0, 0.3, 1.0)])
def test_about_a_level_a_shared_effect_is_signal(mean: float, spread: float, noise: float) -> None:
    rng = np.random.default_rng(4)
    m, entity = scores(rng, 2000, 6, spread, noise)
    found = split_half_reliability(m + 3.0 + mean, entity, level=3.0, splits=50)
    signal = spread**2 + mean**2
    assert found.value == pytest.approx(signal / (signal + noise**2 / 6), abs=0.04)
    assert found.within_group == pytest.approx(spread**2 / (spread**2 + noise**2 / 6), abs=0.08)


def test_about_a_level_noise_without_an_effect_stays_unreliable() -> None:
    rng = np.random.default_rng(5)
    found = [
        split_half_reliability(*scores(rng, 48, 6, 0.0, 1.0), level=0.0, splits=50).value for _ in range(40)
    ]
    assert np.mean(np.array(found) >= 0.5) <= 0.05


def test_negative_correlation_stays_as_it_is() -> None:
    entity = np.repeat(np.arange(6), 2)
    spread = np.repeat([1.0, -1.0, 2.0, -2.0, 3.0, -3.0], 2) * np.tile([1, -1], 6)
    found = split_half_reliability(spread, entity, splits=400)
    assert -1 <= found.value < 0


def test_entities_with_one_item_do_not_count_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    m, entity = scores(rng, 300, 5, 1.0, 1.0)
    shuffled = rng.permutation(len(m))
    plain = split_half_reliability(m, entity)
    mixed = split_half_reliability(np.append(m[shuffled], 9.0), np.append(entity[shuffled], 999))
    assert mixed.entities == 300
    assert mixed.value == pytest.approx(plain.value, abs=0.02)


def test_the_seed_decides() -> None:
    m, entity = scores(np.random.default_rng(2), 20, 5, 1.0, 1.0)
    assert split_half_reliability(m, entity, seed=4) == split_half_reliability(m, entity, seed=4)


@pytest.mark.parametrize(
    ("m", "entity"),
    [
        ([], []),
        ([1.0, 2.0, 3.0], ["a", "b", "c"]),
        ([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "b"]),
        ([0.1] * 9, list("aaabbbccc")),
    ],
)
def test_it_is_undefined_where_nothing_can_be_split(m, entity) -> None:
    assert split_half_reliability(m, entity) is None


def test_within_groups_may_be_undefined_alone() -> None:
    group = ["h"] * 4 + ["l"] * 4
    found = split_half_reliability([1.0] * 4 + [0.0] * 4, list("aabbccdd"), group=group)
    assert found.value == pytest.approx(1.0)
    assert found.within_group is None


def test_missing_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        split_half_reliability([np.nan, 1.0], ["a", "a"])


def crossed(knowledge: float, sway: float, noise: float, items: int = 4, effect: float = 0.0):
    """400 entities in both groups: a level of their own, a difference of their own, and noise."""
    rng = np.random.default_rng(4)
    entity = np.repeat(np.arange(400), 2 * items)
    side = np.tile(np.repeat([1, -1], items), 400)
    own = knowledge * rng.normal(size=400)[entity] + side * (effect + sway * rng.normal(size=400)[entity]) / 2
    m = own + noise * rng.normal(size=len(entity))
    return m, entity, np.where(side > 0, "right", "wrong")


def test_an_entity_in_both_groups_counts_by_its_difference() -> None:
    m, entity, group = crossed(knowledge=3.0, sway=1.0, noise=1.0)
    assert split_half_reliability(m, entity, group=group).value > 0.9, "without a contrast: the level repeats"
    found = split_half_reliability(m, entity, group=group, contrast=("right", "wrong"))
    assert found.value == pytest.approx(1 / (1 + 2 / 4), abs=0.06), "difference 1, noise of a difference 2/4"
    assert found.within_group == pytest.approx(found.value, abs=0.02)
    assert found.entities == 400


def test_a_level_that_repeats_is_no_reliable_difference() -> None:
    m, entity, group = crossed(knowledge=3.0, sway=0.0, noise=1.0)
    found = split_half_reliability(m, entity, group=group, contrast=("right", "wrong"))
    assert found.value == pytest.approx(0, abs=0.15)


def test_a_difference_that_all_entities_share_is_signal_overall_and_none_within() -> None:
    m, entity, group = crossed(knowledge=3.0, sway=0.0, noise=1.0, effect=1.0)
    found = split_half_reliability(m, entity, group=group, contrast=("right", "wrong"))
    assert found.value == pytest.approx(1 / (1 + 2 / 4), abs=0.06)
    assert found.within_group == pytest.approx(0, abs=0.15)


def test_one_item_in_a_group_cannot_be_split() -> None:
    m, entity, group = crossed(knowledge=1.0, sway=1.0, noise=1.0, items=1)
    assert split_half_reliability(m, entity, group=group, contrast=("right", "wrong")) is None


def test_a_contrast_between_entities_is_split_as_before() -> None:
    rng = np.random.default_rng(1)
    m, entity = scores(rng, 40, 5, 1.0, 1.0)
    group = np.where(entity % 2, "high", "low")
    assert split_half_reliability(m, entity, group=group) == split_half_reliability(
        m, entity, group=group, contrast=("high", "low")
    )
