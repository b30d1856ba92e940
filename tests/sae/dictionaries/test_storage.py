from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sae.dictionaries import Crosscoder, DifferenceSAE, PairedCoder, load, save
from sae.errors import DictionaryError

Make = Callable[..., Any]
X = torch.randn(30, 2, 8, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kind", [Crosscoder, DifferenceSAE])
def test_what_was_saved_is_loaded_to_the_bit(
    make_weights: Make, tmp_path: Path, kind: type[PairedCoder]
) -> None:
    dictionary = kind(make_weights(models=kind.models), {"hook_name": "blocks.3.hook_resid_post"})
    save(dictionary, tmp_path / "a" / "b")
    found = load(tmp_path / "a" / "b")
    assert type(found) is kind
    assert torch.equal(found.encode(X), dictionary.encode(X))
    assert torch.equal(found.decode(found.encode(X)), dictionary.decode(dictionary.encode(X)))
    assert found.notes["hook_name"] == "blocks.3.hook_resid_post"
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [
        "cfg.json",
        "sae_weights.safetensors",
    ]


@pytest.fixture
def folder(make_weights: Make, tmp_path: Path) -> Path:
    save(Crosscoder(make_weights()), tmp_path)
    return tmp_path


def rewrite(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**config, **fields}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"normalize_activations": "expected_average_only_in"}, "wants its input normalised"),
        ({"apply_b_dec_to_input": True}, "wants its input normalised"),
        ({"d_sae": 13}, "do not have the shapes that cfg.json says: W_enc"),
        ({"d_in": "wide"}, "no dictionary that can be read"),
        ({"metadata": 3}, "no dictionary that can be read"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, fields: dict[str, Any], message: str) -> None:
    rewrite(folder, **fields)
    with pytest.raises(DictionaryError, match=message):
        load(folder)


def test_normalisation_cannot_be_folded_twice(folder: Path) -> None:
    """What is saved says that nothing is left to fold, and loading does not touch the weights."""
    assert json.loads((folder / "cfg.json").read_text())["normalize_activations"] == "none"
    before = (folder / "sae_weights.safetensors").read_bytes()
    for _ in range(2):
        save(load(folder), folder)
    assert (folder / "sae_weights.safetensors").read_bytes() == before


def test_broken_weights_are_refused(folder: Path) -> None:
    path = folder / "sae_weights.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "W_dec": tensors["W_dec"] * torch.nan}, path)
    with pytest.raises(DictionaryError, match="no finite numbers"):
        load(folder)
    save_file({**tensors, "b_enc": tensors["b_enc"][:5].clone()}, path)
    with pytest.raises(DictionaryError, match="b_enc"):
        load(folder)
    save_file({name: tensor for name, tensor in tensors.items() if name != "threshold"}, path)
    with pytest.raises(DictionaryError, match="threshold"):
        load(folder)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DictionaryError, match="no dictionary that can be read"):
        load(folder)
    path.unlink()
    with pytest.raises(DictionaryError, match="no dictionary that can be read"):
        load(folder)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "cfg.json").write_text('{"architecture": "standard"}')
    torch.save({"W_enc": torch.zeros(2)}, tmp_path / "sae_weights.pt")
    with pytest.raises(DictionaryError, match="no weights of a known layout"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_folder_that_is_no_dictionarys_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "cfg.json").write_text(text)
    with pytest.raises(DictionaryError, match="no dictionary that can be read"):
        load(tmp_path)
    with pytest.raises(DictionaryError, match="no dictionary that can be read"):
        load(tmp_path / "missing")


def test_a_place_that_cannot_be_written_is_told(make_weights: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DictionaryError, match="cannot be written"):
        save(Crosscoder(make_weights()), tmp_path / "file")
