from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sae.dictionaries import Crosscoder, DifferenceSAE, SharedSAE, load, save
from sae.dictionaries.foreign import ForeignSAE
from sae.errors import DictionaryError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what SAELens's own imports deprecate
    import sae_lens

Make = Callable[..., Any]
X = torch.randn(30, 2, 8, generator=torch.Generator().manual_seed(5))


def standard(**settings: Any) -> Any:
    torch.manual_seed(0)
    sae = sae_lens.StandardSAE(sae_lens.StandardSAEConfig(d_in=8, d_sae=12, **settings))
    for name, parameter in sae.named_parameters():
        parameter.data = torch.randn_like(parameter) * (0.1 if name.startswith("b") else 1)
    return sae


def test_saelens_loads_a_crosscoder_as_one_sae_of_both_streams(make_weights: Make, tmp_path: Path) -> None:
    from sae.dictionaries.saelens import register

    register()
    register()
    dictionary = Crosscoder(make_weights())
    save(dictionary, tmp_path)
    sae = sae_lens.SAE.load_from_disk(tmp_path)
    assert type(sae).__name__ == "Crosscoder"
    assert (sae.cfg.architecture(), sae.cfg.d_in, sae.cfg.d_sae) == ("unmask_crosscoder", 16, 12)
    torch.testing.assert_close(sae.encode(X.flatten(1)), dictionary.encode(X)[:, 0])
    torch.testing.assert_close(sae(X.flatten(1)).view(-1, 2, 8), dictionary.reconstruct(X))


def test_saelens_loads_a_difference_sae(make_weights: Make, tmp_path: Path) -> None:
    from sae.dictionaries.saelens import register

    register()
    dictionary = DifferenceSAE(make_weights(models=1))
    save(dictionary, tmp_path)
    change = sae_lens.SAE.load_from_disk(tmp_path)(X[:, 1] - X[:, 0])
    torch.testing.assert_close(X[:, 0] + change, dictionary.reconstruct(X)[:, 1])


@pytest.mark.parametrize("k", [None, 3])
def test_saelens_loads_a_single_model_sae(make_weights: Make, tmp_path: Path, k: int | None) -> None:
    dictionary = SharedSAE(make_weights(models=1), k)
    save(dictionary, tmp_path)
    sae = sae_lens.SAE.load_from_disk(tmp_path)
    assert sae.cfg.architecture() == ("jumprelu" if k is None else "topk")
    torch.testing.assert_close(sae.encode(X), dictionary.encode(X))
    torch.testing.assert_close(sae(X), dictionary.reconstruct(X), rtol=1e-5, atol=1e-5)


def test_an_sae_of_saelens_is_read_on_both_sides(tmp_path: Path) -> None:
    sae = standard()
    sae.save_model(tmp_path)
    found = load(tmp_path)
    assert isinstance(found, SharedSAE)
    assert (found.latents, found.width, found.joint) == (12, 8, False)
    with torch.no_grad():
        for m in range(2):
            torch.testing.assert_close(found.encode(X)[:, m], sae.encode(X[:, m]))
            torch.testing.assert_close(found.reconstruct(X)[:, m], sae(X[:, m]))
    assert torch.equal(found.decoder_FMD[:, 0], found.decoder_FMD[:, 1])
    assert not found.carried(X).any()


def test_decoder_norms_that_saelens_divides_by_are_in_the_rows(tmp_path: Path) -> None:
    config = sae_lens.TopKSAEConfig(d_in=8, d_sae=12, k=3, rescale_acts_by_decoder_norm=True)
    torch.manual_seed(0)
    sae = sae_lens.TopKSAE(config)
    sae.W_dec.data = torch.randn(12, 8) * 3
    sae.save_model(tmp_path)
    for found in (ForeignSAE(sae), load(tmp_path)):
        torch.testing.assert_close(found.reconstruct(X)[:, 1], sae(X[:, 1]))
        torch.testing.assert_close(found.encode(X)[:, 1], sae.encode(X[:, 1]))
        assert torch.allclose(found.decoder_FMD.norm(dim=-1), torch.ones(12, 2))


def test_an_architecture_that_only_saelens_knows_is_encoded_by_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sae = sae_lens.GatedSAE(sae_lens.GatedSAEConfig(d_in=8, d_sae=12))
    for parameter in sae.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    sae.save_model(tmp_path / "a")
    found = load(tmp_path / "a")
    assert isinstance(found, ForeignSAE)
    with torch.no_grad():
        torch.testing.assert_close(found.encode(X)[:, 1], sae.encode(X[:, 1]))
        torch.testing.assert_close(found.reconstruct(X)[:, 0], sae(X[:, 0]))
    codes = found.encode_sparse(X)
    assert torch.equal((codes.indices >= 0).sum(-1), (found.encode(X) > 0).sum(-1))
    save(found, tmp_path / "b")
    again = load(tmp_path / "b")
    torch.testing.assert_close(again.encode(X), found.encode(X))


def test_saes_whose_rows_are_no_directions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DictionaryError, match=r"run time \(layer_norm\)"):
        ForeignSAE(standard(normalize_activations="layer_norm"))
    sae = standard()
    monkeypatch.setattr(sae, "decode", lambda codes: (codes @ sae.W_dec).tanh() + sae.b_dec)
    with pytest.raises(DictionaryError, match="does not give its decoder row"):
        ForeignSAE(sae)


def test_broken_saes_are_refused(tmp_path: Path) -> None:
    sae = standard()
    sae.b_dec.data[0] = torch.inf
    sae.save_model(tmp_path)
    with pytest.raises(DictionaryError, match="no finite numbers"):
        load(tmp_path)
    config = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**config, "architecture": "unheard-of"}))
    with pytest.raises(DictionaryError, match="SAELens cannot load this SAE: KeyError"):
        load(tmp_path)
    gated = {**config, "architecture": "gated"}
    (tmp_path / "cfg.json").write_text(json.dumps(gated))
    with pytest.raises(DictionaryError, match="SAELens cannot load this SAE"):
        load(tmp_path)


def test_releases_are_loaded_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from sae.dictionaries.saelens import load_release

    with pytest.raises(DictionaryError, match="not found in pretrained SAEs") as caught:
        load_release("no-such-release", "blocks.0")
    assert caught.value.where == "no-such-release:blocks.0"
    monkeypatch.setattr(sae_lens.SAE, "from_pretrained", lambda release, sae_id, device: standard())
    found = load_release("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    assert (found.notes["release"], found.notes["sae_id"]) == ("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    assert not isinstance(found, ForeignSAE), "it is read by our own reader, and encodes sparsely"
    broken = standard()
    broken.b_dec.data[0] = torch.inf
    monkeypatch.setattr(sae_lens.SAE, "from_pretrained", lambda release, sae_id, device: broken)
    with pytest.raises(DictionaryError, match="b_dec holds numbers"):
        load_release("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
