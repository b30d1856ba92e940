"""Probes on planted activations: known AUCs, entities learned by heart, nulls that hold their level."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from audit.measures.probes import (
    Kind,
    Readout,
    Texts,
    auc_estimate,
    auc_gain,
    cross_validated_auc,
    entity_auc,
    fit_probe,
    lda_direction,
    null_aucs,
    null_of_others,
    shuffles,
    subset,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads slow small matrices down."""
    with threadpool_limits(limits=1):
        yield


def world(
    seed: int,
    *,
    entities: int = 48,
    texts: int = 3,
    width: int = 64,
    signal: float = 0.0,
    own: float = 1.0,
    noise: float = 0.3,
) -> Texts:
    """Texts whose activation is class + entity + noise; half of the entities are of class A."""
    rng = np.random.default_rng(seed)
    is_a = np.arange(entities) % 2 == 0
    centre = own * rng.normal(size=(entities, width))
    centre += np.where(is_a, signal / 2, -signal / 2)[:, None] / np.sqrt(width)
    entity = np.repeat(np.arange(entities), texts)
    return Texts(centre[entity] + noise * rng.normal(size=(len(entity), width)), entity, is_a)


def halves(texts: Texts) -> tuple[Texts, Texts]:
    train = np.arange(len(texts.is_a)) < len(texts.is_a) // 2
    return subset(texts, train), subset(texts, ~train)


@pytest.mark.parametrize("kind", ["lda", "logistic", "mlp"])
def test_a_planted_class_is_found_on_held_out_entities(kind: Kind) -> None:
    train, test = halves(world(0, signal=9.0))
    assert fit_probe(train, kind).auc(test) > 0.95


@pytest.mark.parametrize("kind", ["lda", "logistic", "mlp"])
def test_entities_learned_by_heart_are_worth_nothing_on_others(kind: Kind) -> None:
    """Within an entity texts are alike, so a split that leaks entities looks perfect."""
    found, leaked = [], []
    for seed in range(6):
        texts = world(seed, own=3.0)
        train, test = halves(texts)
        found.append(fit_probe(train, kind).auc(test))
        leaked.append(fit_probe(texts, kind).auc(texts))
    assert min(leaked) > 0.99
    assert abs(np.mean(found) - 0.5) < 0.12


def test_the_auc_is_that_of_the_planted_distance() -> None:
    """One entry of signal and nothing else: Phi(d / sqrt 2) for classes d standard deviations apart."""
    found = []
    for seed in range(12):
        train, test = halves(world(seed, entities=400, texts=1, width=1, signal=1.5, own=1.0, noise=0.0))
        found.append(fit_probe(train, "lda").auc(test))
    assert np.mean(found) == pytest.approx(stats.norm.cdf(1.5 / np.sqrt(2)), abs=0.015)


def test_a_class_that_is_no_line_needs_the_mlp() -> None:
    rng = np.random.default_rng(0)
    entities, x = np.arange(400), rng.normal(size=(400, 2))
    train, test = halves(Texts(x, entities, x[:, 0] * x[:, 1] > 0))
    assert abs(fit_probe(train, "lda").auc(test) - 0.5) < 0.15
    assert fit_probe(train, "mlp").auc(test) > 0.9


def test_the_readout_loses_nothing_that_a_probe_could_use() -> None:
    """Distances between training texts are those of the standardised activations, up to one scale."""
    x = world(0, width=300).x
    readout = Readout.of(x)
    z, inside = (x - x.mean(0)) / x.std(0), readout(x)
    assert inside.shape[1] < len(x)
    full, small = (np.linalg.norm(v[:40, None] - v[None, :40], axis=-1) for v in (z, inside))
    off = ~np.eye(40, dtype=bool)
    np.testing.assert_allclose((full[off] / small[off]).std() / (full[off] / small[off]).mean(), 0, atol=1e-9)
    assert np.isfinite(Readout.of(np.ones((5, 3)))(np.ones((2, 3)))).all(), "nothing varies"


def test_the_null_quantile_holds_its_level_over_simulated_sets() -> None:
    beyond = []
    for seed in range(100):
        train, test = halves(world(seed, entities=32, texts=2, width=8, own=2.0))
        null = null_aucs(train, test, shuffles(train.is_a, test.is_a, 20, seed))
        beyond.append(fit_probe(train, "lda").auc(test) > np.quantile(null, 0.95))
    assert np.mean(beyond) <= stats.binom.ppf(0.99, 100, 0.08) / 100  # 20 shuffles leave some slack
    assert np.mean(beyond) > 0


@pytest.mark.parametrize(("texts", "width"), [(1, 8), (3, 64), (3, 300)])
def test_the_fast_lda_is_the_plain_one(texts: int, width: int) -> None:
    train, test = halves(world(5, signal=1.0, texts=texts, width=width))
    plain = fit_probe(train, "lda")
    fast = plain.readout(test.x) @ lda_direction(plain.readout(train.x), train.label)
    slow = plain.scores(test.x)
    np.testing.assert_allclose(fast - fast.mean(), slow - slow.mean(), rtol=1e-6, atol=1e-8)


def test_shuffles_move_whole_entities_and_keep_the_counts() -> None:
    is_a = np.array([True] * 5 + [False] * 3)
    dealt = shuffles(is_a, ~is_a, 30, seed=1)
    assert dealt.train.shape == (30, 8)
    assert (dealt.train.sum(1) == 5).all()
    assert (dealt.test.sum(1) == 3).all()
    assert len({tuple(row) for row in dealt.train}) > 5


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0])
def test_the_interval_covers_the_true_auc(distance: float) -> None:
    """Also where nearly every sample separates the classes, where a bootstrap has no width."""
    rng, is_a = np.random.default_rng(0), np.arange(24) < 12
    true, covered = stats.norm.cdf(distance / np.sqrt(2)), 0
    for _ in range(400):
        found = auc_estimate(entity_auc(rng.normal(size=24) + distance * is_a, is_a), is_a)
        covered += found.low <= true <= found.high
    assert covered / 400 >= 0.92


def test_the_interval_at_the_ends() -> None:
    is_a = np.arange(24) < 12
    perfect, inverted = auc_estimate(1.0, is_a), auc_estimate(0.0, is_a)
    assert perfect.high == 1.0
    assert 0.8 < perfect.low < 0.9
    assert inverted.low == 0.0
    assert inverted.high == pytest.approx(1 - perfect.low)
    assert not auc_estimate(1.0, np.array([True, False, False])).bounded
    widths = [auc_estimate(0.8, np.arange(2 * n) < n) for n in (4, 16, 64)]
    assert all(a.high - a.low > b.high - b.low for a, b in pairwise(widths))


def test_ties_count_half() -> None:
    assert entity_auc(np.zeros(4), np.array([True, True, False, False])) == 0.5


def test_a_gain_is_paired_over_entities() -> None:
    rng, is_a = np.random.default_rng(0), np.arange(40) < 20
    weak = rng.normal(size=40) + is_a
    same = auc_gain(weak, weak, is_a, draws=200, seed=0)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    strong = auc_gain(weak + 5 * is_a, weak, is_a, draws=500, seed=0)
    assert strong.low > 0
    assert strong.value == pytest.approx(1 - entity_auc(weak, is_a))


def test_cross_validation_keeps_entities_apart_and_needs_some() -> None:
    assert cross_validated_auc(world(0, signal=9.0)) > 0.95
    by_heart = [cross_validated_auc(world(seed, own=3.0)) for seed in range(10)]
    assert abs(np.mean(by_heart) - 0.5) < 0.12
    assert np.isnan(cross_validated_auc(world(0, entities=6)))


def test_the_same_seed_gives_the_same_mlp() -> None:
    train, test = halves(world(3, signal=2.0))
    scores = [fit_probe(train, "mlp", seed=5).scores(test.x) for _ in range(2)]
    np.testing.assert_array_equal(*scores)


def test_the_slower_probes_have_a_null_too() -> None:
    train, test = halves(world(7, entities=24, texts=2, width=6, signal=3.0))
    dealt = shuffles(train.is_a, test.is_a, 12, 0)
    null = null_of_others(train, test, dealt, 8, 0)
    assert null.shape == (8,)
    assert 0.3 < float(null.mean()) < 0.75
    assert fit_probe(train, "mlp").auc(test) > float(null.mean())
    assert null_of_others(train, test, dealt, 0, 0).shape == (0,)
