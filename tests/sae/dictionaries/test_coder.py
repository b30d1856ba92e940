from __future__ import annotations

import pytest
import torch

from sae.dictionaries import Crosscoder, DictionaryConfig
from sae.dictionaries.coder import Coder, centre_and_scale
from sae.errors import DictionaryError

CONFIG = DictionaryConfig(latents=9, k=3, shared=4, shared_penalty=0.5)


def activations(tokens: int = 60, width: int = 6) -> torch.Tensor:
    x = torch.randn(tokens, 2, width, generator=torch.Generator().manual_seed(3))
    return x * torch.tensor([2.0, 7.0])[:, None] + 5


def test_both_models_start_with_the_same_decoder_and_its_transpose_as_encoder() -> None:
    coder = Coder(CONFIG, 2, 6)
    assert torch.equal(coder.decoder_FMD[:, 0], coder.decoder_FMD[:, 1])
    assert torch.allclose(
        torch.nn.functional.normalize(coder.encoder_FMD.flatten(1)),
        torch.nn.functional.normalize(coder.decoder_FMD.flatten(1)),
    )


def test_normalised_activations_are_centred_with_mean_norm_root_width() -> None:
    x = activations()
    coder = Coder(CONFIG, 2, 6)
    coder.calibrate(x)
    z = coder.normalise(x)
    assert torch.allclose(z.mean(0), torch.zeros(2, 6), atol=1e-5)
    assert torch.allclose(z.norm(dim=-1).mean(0), torch.full((2,), 6**0.5))


def test_the_folded_dictionary_is_the_same_function_in_raw_units() -> None:
    x, coder = activations(), Coder(CONFIG, 2, 6)
    coder.calibrate(x)
    with torch.no_grad():
        for parameter in coder.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
        coder.theta.fill_(0.6)
        z = coder.normalise(x)
        codes = (z.flatten(1) @ coder.encoder_FMD.flatten(1).T + coder.bias_F).relu()
        score = codes * coder.weight_F / coder.penalty_F
        codes = codes * (score > coder.theta)
        raw = (torch.einsum("nf,fmd->nmd", codes, coder.decoder_FMD) + coder.bias_MD) / coder.scale_M[:, None]
        folded = Crosscoder(coder.folded())
    torch.testing.assert_close(folded.reconstruct(x), raw + coder.mean_MD)
    assert torch.equal(folded.encode(x)[:, 0] > 0, codes > 0)
    assert 0 < (codes > 0).float().mean() < 0.5, "the threshold has something to do"
    assert torch.allclose(folded.decoder_FMD.norm(dim=-1).amax(1), torch.ones(9))


def test_the_threshold_follows_the_smallest_kept_score() -> None:
    coder = Coder(CONFIG, 2, 6)
    for least, wanted in ((torch.inf, 0.0), (2.0, 2.0), (1.0, 1.9), (torch.inf, 1.9)):
        coder.learn_threshold(torch.tensor(least), 0.1)
        assert float(coder.theta) == pytest.approx(wanted)


@pytest.mark.parametrize(("spoil", "message"), [(torch.nan, "not finite"), (None, "same at every token")])
def test_activations_without_a_scale_are_refused(spoil: float | None, message: str) -> None:
    x = activations()
    if spoil is None:
        x[:, 1] = x[0, 1]
    else:
        x[3, 0, 2] = spoil
    with pytest.raises(DictionaryError, match=message):
        centre_and_scale(x)
