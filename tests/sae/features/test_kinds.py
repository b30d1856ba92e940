"""Planted truths: what the kinds say of features whose history is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sae.dictionaries import DictionaryConfig, train_dictionary
from sae.features import (
    Effects,
    Thresholds,
    classify,
    decoder_cosine,
    delta_norm,
    latent_scaling,
    latent_statistics,
    switch_score,
)
from sae.features.kinds import silenced

Maker = Callable[..., Any]


def passed(planted: Any, dictionary: Any) -> Any:
    return latent_statistics(planted.stream(), dictionary, joint=True)


def no_doubt(count: int) -> Tensor:
    return torch.full((count,), 0.01)


def test_every_planted_kind_is_named(world: Maker) -> None:
    planted = world(shared=12, tuned_only=4, base_only=3, rotated=4)
    found = passed(planted, planted.dictionary())
    kinds = classify(found, no_doubt(23)).kind
    for kind in ("shared", "tuned only", "base only", "rotated"):
        assert set(kinds[planted.of(kind)]) == {kind}


def undertrained(planted: Any, share: float) -> Tensor:
    """Decoders as a tied start leaves them: rare exclusive features keep a part of the other model's row."""
    rows = planted.rows_GMD.clone()
    for kind, side in (("tuned only", 0), ("base only", 1)):
        rows[planted.of(kind), side] = share * rows[planted.of(kind), 1 - side]
    return rows


def test_rare_exclusive_features_that_the_norm_bins_miss_are_found(world: Maker) -> None:
    planted = world(shared=16, tuned_only=4, base_only=4)
    found = passed(planted, planted.dictionary(undertrained(planted, 0.4)))
    delta, kinds = delta_norm(found), classify(found, no_doubt(24)).kind
    assert not ((delta > 0.9) | (delta < 0.1)).any()  # the bins of the norm ratio find none of the eight
    assert set(kinds[planted.of("tuned only")]) == {"tuned only"}
    assert set(kinds[planted.of("base only")]) == {"base only"}
    assert set(kinds[planted.of("shared")]) == {"shared"}


def test_a_shrunken_row_of_a_shared_feature_is_no_finding(world: Maker) -> None:
    """Complete shrinkage: the norm ratio says tuned only, the error says that the base has it."""
    planted = world(shared=16, tuned_only=0)
    rows = planted.rows_GMD.clone()
    rows[:4, 0] *= 0.02
    found = passed(planted, planted.dictionary(rows))
    assert (delta_norm(found)[:4] > 0.9).all()
    assert "tuned only" not in classify(found, no_doubt(16)).kind
    assert latent_scaling(found).nu_error_FP[:4, 1].min() > 0.9


def test_decoupling_is_no_finding(world: Maker) -> None:
    """One feature written by two latents, one per model: the reconstruction of the other side holds it."""
    planted = world(shared=16, tuned_only=0)
    planted.rows_GMD = torch.cat([planted.rows_GMD, planted.rows_GMD[:1]])
    rows = planted.rows_GMD.clone()
    rows[0, 0], rows[16, 1] = 0, 0
    dictionary = planted.dictionary(rows)
    weights = dictionary.weights
    encoder = weights.encoder_FMD.clone()
    encoder[[0, 16]] *= 2  # the pseudo-inverse splits the code among the two
    bias = -0.5 * encoder.sum((1, 2))
    dictionary = type(dictionary)(replace(weights, encoder_FMD=encoder, bias_F=bias))
    found = passed(planted, dictionary)
    scaling, kinds = latent_scaling(found), classify(found, no_doubt(17)).kind
    assert scaling.nu_error_FP[0, 1] < 0.2
    assert scaling.nu_reconstruction_FP[0, 1] > 0.9
    assert {kinds[0], kinds[16]} == {"unsure"}


def test_in_trained_crosscoders_latent_scaling_finds_what_the_bins_miss(world: Maker) -> None:
    """Twelve rare features in three trainings of the default length, each with a start of its own.

    k is what a token of this world has (20 x .095 + 4 x .005 = 1.92). A budget far above it is spent on
    noise: the threshold sinks until rare latents fire on that as well. Norms are late rather than wrong:
    twice the steps leave less of the tied start, and most of these features reach the bin.
    """
    torch.set_num_threads(1)
    planted = world(shared=20, tuned_only=4, rate=0.095, tokens=24_000)
    new_GD = planted.rows_GMD[planted.of("tuned only"), 1]
    shuffled = planted.x_NMD[torch.randperm(24_000, generator=torch.Generator().manual_seed(1))]
    by_scaling = by_norm = 0
    for seed in range(3):
        config = DictionaryConfig(latents=64, k=2, k_start=6, dead_after=2000, seed=seed)
        dictionary = train_dictionary(lambda epoch: iter(shuffled.split(4096)), config).dictionary
        found = passed(planted, dictionary)
        kinds, delta = classify(found, no_doubt(64)).kind, delta_norm(found)
        rows = torch.nn.functional.normalize(found.decoder_FMD, dim=-1)
        cosine, latent = (rows[:, 1] @ new_GD.T).max(0)
        assert cosine.min() > 0.8  # each was learned
        assert found.rate_F[latent].max() < 0.01  # and is rare
        by_scaling += sum(kinds[j] == "tuned only" for j in latent)
        by_norm += int((delta[latent] > 0.9).sum())
        called = [j for j, kind in enumerate(kinds) if kind == "tuned only"]
        assert (rows[called, 1] @ new_GD.T).norm(dim=1).min() > 0.7  # nothing else: pieces of the four
        old = (rows[:, 0] @ planted.rows_GMD[planted.of("shared"), 0].T).argmax(0)
        assert {kinds[j] for j in old} == {"shared"}
    assert by_scaling == 12
    assert by_norm <= 6  # the bin of tuned-only norms misses at least half


def test_without_a_q_value_what_looks_switched_is_unsure(world: Maker) -> None:
    planted = world(tuned_only=3, rotated=2)
    found = passed(planted, planted.dictionary())
    for q in (None, torch.full((21,), 0.06), torch.full((21,), torch.nan)):
        kinds = classify(found, q)
        assert set(kinds.kind) == {"shared", "unsure"}
        assert set(kinds.candidate[planted.of("tuned only")]) == {"tuned only"}
        assert set(kinds.candidate[planted.of("rotated")]) == {"rotated"}


def test_dead_and_nearly_dead(world: Maker) -> None:
    planted = world(tuned_only=1, base_only=1, rare=0.0)
    planted.x_NMD[:5] += 1.5 * planted.rows_GMD[planted.of("base only")]
    found = passed(planted, planted.dictionary())
    kinds = classify(found, no_doubt(18)).kind
    assert found.fires_F[planted.of("base only")].item() == 5
    assert kinds[planted.of("tuned only")] == ("dead",)
    assert kinds[planted.of("base only")] == ("unsure",)


@pytest.mark.parametrize(
    ("tuned_effect", "q", "change", "kind"),
    [
        (0.1, 0.01, -2.0, "silenced"),
        (0.1, 0.2, -2.0, "shared"),
        (0.6, 0.01, -2.0, "shared"),
        (float("nan"), 0.01, -2.0, "shared"),
        (0.1, 0.01, 2.0, "shared"),  # what was lost had held the behaviour down
        (0.1, 0.01, -200.0, "shared"),  # too little to explain anything
    ],
)
def test_silenced_needs_an_effect_that_is_gone(
    world: Maker, tuned_effect: float, q: float, change: float, kind: str
) -> None:
    planted = world(tuned_only=1)
    found = passed(planted, planted.dictionary())
    base, tuned = torch.full((17,), torch.nan), torch.full((17,), torch.nan)
    base[[3, 16]], tuned[[3, 16]] = 1.0, tuned_effect
    effects = Effects(base, tuned, torch.full((17,), q), change)
    nothing = Effects(torch.ones(17), torch.ones(17), torch.zeros(17), -1.0)
    kinds = classify(found, no_doubt(17), [nothing, effects]).kind
    assert kinds[3] == kind
    assert kinds[16] == "tuned only"
    assert kinds[4] == "shared"


def test_silenced_needs_an_unchanged_activation(world: Maker) -> None:
    planted = world(tuned_only=1)
    found = passed(planted, planted.dictionary())
    weaker = replace(found, sum_FM=found.sum_FM * torch.tensor([1.0, 0.7]))
    effects = Effects(torch.ones(17), torch.zeros(17), torch.zeros(17), -1.0)
    assert silenced(found, effects, Thresholds())[:16].all()
    assert not silenced(weaker, effects, Thresholds()).any()


def test_the_score_follows_asymmetry_and_rotation_and_never_the_norm_alone(world: Maker) -> None:
    planted = world(shared=16, tuned_only=2, rotated=2)
    rows = planted.rows_GMD.clone()
    rows[:4, 0] *= 0.02
    found = passed(planted, planted.dictionary(rows))
    score = switch_score(found, latent_scaling(found))
    assert score[planted.of("shared")].max() < 0.2
    assert score[planted.of("tuned only")].min() > 0.8
    assert score[planted.of("rotated")].min() > 0.8
    assert decoder_cosine(found)[planted.of("tuned only")].isnan().all()
