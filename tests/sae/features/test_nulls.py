from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sae.features import (
    NullSample,
    Thresholds,
    against_nulls,
    classify,
    latent_scaling,
    latent_statistics,
    least_findings,
    live,
)
from sae.features.nulls import PER_BIN, benign_p_values

Maker = Callable[..., Any]


def drifted(planted: Any, amount: float, seed: int) -> Any:
    """The tuned stream moved a little by training that is about nothing: each feature's own way."""
    draw = torch.Generator().manual_seed(seed)
    gain = 1 + amount * torch.randn(len(planted.rows_GMD), generator=draw)
    turn = amount * torch.randn(planted.rows_GMD[:, 1].shape, generator=draw) / 48**0.5
    moved = gain[:, None] * planted.rows_GMD[:, 1] + turn
    planted.x_NMD[:, 1] += planted.code_NG @ (moved - planted.rows_GMD[:, 1])
    return planted


def sample(planted: Any) -> tuple[Any, Any, Tensor]:
    found = latent_statistics(planted.stream(), planted.dictionary(), joint=True)
    return found, latent_scaling(found), live(found)


def benign(world: Maker, seed: int) -> Any:
    return drifted(world(shared=40, tuned_only=0, seed=seed, tokens=4000), 0.1, seed + 100)


def test_a_benign_pair_against_benign_nulls_keeps_the_nominal_rate(world: Maker) -> None:
    """40 latents in each of 25 benign pairs, held against nulls of four others."""
    null = NullSample(
        *(
            torch.cat(column)
            for column in zip(
                *(NullSample.of(*sample(benign(world, seed))) for seed in range(25, 29)), strict=True
            )
        )
    )
    with_findings, rejected, latents = 0, 0.0, 0
    for seed in range(25):
        found, scaling, alive = sample(benign(world, seed))
        result = against_nulls(found, scaling, alive, null)
        assert torch.equal(result.q_F.isnan(), ~alive)
        with_findings += int((result.q_F <= 0.05).any())
        rejected += float((result.benign_p_F[alive] <= 0.05).sum())
        latents += int(alive.sum())
    assert with_findings / 25 <= 0.05
    assert 0.02 <= rejected / latents <= 0.08  # ranks are neither blind nor bold


def test_switched_latents_stand_out_of_the_null(world: Maker) -> None:
    null = NullSample.of(*sample(benign(world, 1)))
    for seed in range(2, 6):
        null = null + NullSample.of(*sample(benign(world, seed)))
    planted = drifted(world(shared=30, tuned_only=5, base_only=0, rotated=5, rare=0.02, tokens=4000), 0.1, 9)
    found, scaling, alive = sample(planted)
    result = against_nulls(found, scaling, alive, null)
    kinds = classify(found, result.q_F, scaling=scaling, thresholds=Thresholds()).kind
    assert set(kinds[planted.of("tuned only")]) == {"tuned only"}
    assert set(kinds[planted.of("rotated")]) == {"rotated"}
    assert set(kinds[planted.of("shared")]) == {"shared"}


def test_labels_that_could_be_swapped_veto_a_finding(world: Maker) -> None:
    """A latent of two documents cannot be told from chance, however one-sided it is there."""
    null = NullSample(torch.linspace(0, 0.3, 400).double(), torch.full((400,), 0.05).double())
    planted = world(shared=4, tuned_only=1, rare=0.0, tokens=4000)
    planted.x_NMD[:60, 1] += 1.5 * planted.rows_GMD[planted.of("tuned only"), 1]
    found, scaling, alive = sample(planted)
    result = against_nulls(found, scaling, alive, null)
    assert result.benign_p_F[-1] < 0.01
    assert result.label_p_F[-1] > 0.2
    kinds = classify(found, result.q_F, scaling=scaling)
    assert (kinds.kind[-1], kinds.candidate[-1]) == ("unsure", "tuned only")


def test_without_a_null_there_is_no_q_value(world: Maker) -> None:
    found, scaling, alive = sample(world(tokens=2000))
    empty = NullSample(torch.empty(0).double(), torch.empty(0).double())
    for null in (None, empty):
        assert against_nulls(found, scaling, alive, null).q_F.isnan().all()
    assert (
        against_nulls(found, scaling, torch.zeros_like(alive), NullSample.of(found, scaling, alive))
        .q_F.isnan()
        .all()
    )


def test_ranks_are_taken_among_latents_of_like_rate() -> None:
    draw = torch.Generator().manual_seed(0)
    rate = torch.rand(5 * PER_BIN, generator=draw).double()
    null = NullSample(rate + 0.01 * torch.randn(5 * PER_BIN, generator=draw).double(), rate)
    p = benign_p_values(torch.tensor([0.5, 0.5]).double(), torch.tensor([0.05, 0.95]).double(), null)
    assert p[0] == pytest.approx(1 / 1001, rel=0.01)
    assert p[1] == pytest.approx(1, rel=0.01)


def test_how_many_findings_a_null_can_carry() -> None:
    assert least_findings(800, 799) == 20
    assert least_findings(800, 15_999) == 1
    assert least_findings(100, 99) == 20


def test_difference_dictionaries_are_scored_on_the_activation(world: Maker) -> None:
    found, scaling, _ = sample(world(tuned_only=2))
    bare = latent_scaling(replace(found, carries=True))
    assert bare.nu_error_FP.isnan().all()
    torch.testing.assert_close(bare.nu_activation_FP, scaling.nu_activation_FP, equal_nan=True)
    assert set(classify(replace(found, carries=True), None).candidate) == {"unsure"}
