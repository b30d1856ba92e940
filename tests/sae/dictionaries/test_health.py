from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from sae.dictionaries import Crosscoder, DifferenceSAE, health_of
from sae.errors import DictionaryError

Make = Callable[..., Any]
X = torch.randn(500, 2, 8, generator=torch.Generator().manual_seed(5)) + 30


def test_an_exact_dictionary_explains_everything(make_exact: Make) -> None:
    health = health_of(make_exact(8), X.split(70), held_out=True)
    assert health.fve == pytest.approx((1.0, 1.0))
    assert health.l0 == pytest.approx((16.0, 16.0)), "one sign of every coordinate"
    assert health.dead == pytest.approx(0.5)
    assert health.to_dict()["tokens"] == 500


def test_the_mean_explains_nothing_and_the_models_are_told_apart(make_weights: Make) -> None:
    weights = make_weights()
    never = replace(weights, threshold_F=weights.threshold_F + 1e6, bias_MD=X.mean(0))
    health = health_of(Crosscoder(never), [X], held_out=False)
    assert health.fve == pytest.approx((0.0, 0.0), abs=1e-5)
    assert (health.l0, health.dead) == ((0.0, 0.0), 1.0)
    bias = X.mean(0)
    bias[1] += 1
    worse = health_of(Crosscoder(replace(never, bias_MD=bias)), [X], held_out=False)
    assert worse.fve[0] == pytest.approx(0.0, abs=1e-5)
    assert (worse.fve[1] or 0) == pytest.approx(-1.0, abs=0.1), "unit variance, and a bias of one"


def test_a_difference_sae_has_nothing_to_explain_in_the_base(make_weights: Make) -> None:
    health = health_of(DifferenceSAE(make_weights(models=1)), [X], held_out=False)
    assert health.fve[0] is None
    assert health.fve[1] is not None


def test_no_tokens_are_no_measurement(make_exact: Make) -> None:
    with pytest.raises(DictionaryError, match="no tokens"):
        health_of(make_exact(8), [], held_out=True)
