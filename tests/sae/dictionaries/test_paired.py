from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from sae.dictionaries import Crosscoder, DifferenceSAE, PairedCoder, Weights
from sae.errors import DictionaryError

Make = Callable[..., Any]
X = torch.randn(30, 2, 8, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kind", [Crosscoder, DifferenceSAE])
def test_reconstructing_is_decoding_the_codes_beside_what_is_carried(
    make_weights: Make, kind: type[PairedCoder]
) -> None:
    dictionary = kind(make_weights(models=kind.models))
    codes = dictionary.encode(X)
    assert codes.shape == (30, 2, 12)
    assert (codes >= 0).all()
    assert torch.equal(codes[:, 0], codes[:, 1])
    decoded = torch.einsum("nmf,fmd->nmd", codes, dictionary.decoder_FMD) + dictionary.bias_MD
    torch.testing.assert_close(dictionary.decode(codes), decoded)
    torch.testing.assert_close(dictionary.reconstruct(X), decoded + dictionary.carried(X))


def test_a_crosscoder_is_a_jumprelu_of_both_streams(make_weights: Make) -> None:
    weights = make_weights()
    pre = torch.einsum("nmd,fmd->nf", X, weights.encoder_FMD) + weights.bias_F
    wanted = torch.where(pre > weights.threshold_F, pre, 0)
    torch.testing.assert_close(Crosscoder(weights).encode(X)[:, 0], wanted)
    assert (Crosscoder(weights).decoder_FMD == weights.decoder_FMD).all()


def test_a_negative_threshold_lets_no_negative_code_through(make_weights: Make) -> None:
    weights = make_weights()
    assert (Crosscoder(replace(weights, threshold_F=weights.threshold_F - 9)).encode(X) >= 0).all()


def test_a_difference_sae_says_nothing_of_the_base(make_weights: Make) -> None:
    dictionary = DifferenceSAE(make_weights(models=1))
    assert not dictionary.decoder_FMD[:, 0].any()
    assert not dictionary.bias_MD[0].any()
    torch.testing.assert_close(dictionary.reconstruct(X)[:, 0], X[:, 0])
    moved = X + torch.randn(30, 1, 8, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(dictionary.encode(moved), dictionary.encode(X), rtol=1e-4, atol=1e-4)


def test_bf16_activations_are_read_in_float32(make_exact: Make) -> None:
    x = X.bfloat16()
    assert torch.equal(make_exact(8).reconstruct(x), x.float())


@pytest.mark.parametrize("field", [field.name for field in fields(Weights)])
def test_weights_that_do_not_fit_or_are_not_finite_are_refused(make_weights: Make, field: str) -> None:
    weights = make_weights()
    tensor = getattr(weights, field)
    with pytest.raises(DictionaryError, match="do not fit each other"):
        replace(weights, **{field: tensor[:-1]})
    spoilt = tensor.clone()
    spoilt.view(-1)[-1] = torch.nan
    with pytest.raises(DictionaryError, match="no finite numbers") as caught:
        replace(weights, **{field: spoilt})
    assert caught.value.where == field


def test_the_number_of_streams_is_checked(make_weights: Make) -> None:
    with pytest.raises(DictionaryError, match="in its second axis"):
        Crosscoder(make_weights(models=1))
    with pytest.raises(DictionaryError, match="three axes"):
        replace(make_weights(), decoder_FMD=torch.zeros(3, 4))


def test_it_moves_between_devices_as_a_module(make_weights: Make) -> None:
    dictionary = Crosscoder(make_weights()).to("meta")
    assert dictionary.decoder_FMD.device.type == "meta"
    assert (dictionary.latents, dictionary.width) == (12, 8)
