"""Dictionaries that an audit is given: other libraries' layouts, and what is told where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from audit.errors import UsageError
from audit.features.dictionaries import dictionary_config, opened, reads_difference
from audit.features.source import TRAINED, dictionary_source
from audit.presets import PRESETS
from sae.dictionaries import Crosscoder, DifferenceSAE, SharedSAE, Weights, save
from sae.errors import DictionaryError


@pytest.fixture
def sparsify(tmp_path: Path) -> Path:
    folder = tmp_path / "layers.3"
    folder.mkdir()
    (folder / "cfg.json").write_text(json.dumps({"k": 4, "d_in": 8, "num_latents": 20}))
    g = torch.Generator().manual_seed(0)
    tensors = {
        "encoder.weight": torch.randn(20, 8, generator=g),
        "encoder.bias": torch.zeros(20),
        "W_dec": torch.randn(20, 8, generator=g),
        "b_dec": torch.zeros(8),
    }
    save_file(tensors, folder / "sae.safetensors")
    return folder


def test_a_folder_of_another_library_is_opened_and_says_where_it_reads(sparsify: Path) -> None:
    source = dictionary_source(str(sparsify))
    found = opened(source, 8, "cpu")
    assert isinstance(found, SharedSAE)
    assert (found.latents, found.k, found.hook_name) == (20, 4, "blocks.3.hook_resid_post")
    assert not reads_difference(source)
    with pytest.raises(UsageError, match="reads 8 numbers per token; these models have 16"):
        opened(source, 16, "cpu")


def test_a_folder_of_no_known_layout_is_told_which_there_are(tmp_path: Path) -> None:
    source = dictionary_source(str(tmp_path))
    for ask in (lambda: opened(source, 8, "cpu"), lambda: reads_difference(source)):
        with pytest.raises(
            DictionaryError, match=r"SAELens: .*sparsify: .*dictionary_learning: .*Gemma Scope"
        ):
            ask()


@pytest.mark.parametrize(("kind", "wanted"), [(DifferenceSAE, True), (Crosscoder, False)])
def test_only_a_difference_sae_reads_the_difference(
    tmp_path: Path, kind: type[Crosscoder | DifferenceSAE], wanted: bool
) -> None:
    rows, zeros = torch.ones(3, kind.models, 4), torch.zeros(3)
    save(kind(Weights(rows, zeros, zeros, rows, torch.zeros(kind.models, 4))), tmp_path)
    assert reads_difference(dictionary_source(str(tmp_path))) == wanted


@pytest.mark.parametrize("name", TRAINED)
def test_every_kind_that_can_be_trained_has_settings(name: str) -> None:
    preset = PRESETS["quick"]
    config = dictionary_config(name, preset, seed=1, device="cpu")
    assert (config.latents, config.k, config.seed) == (preset.latents, preset.active_latents, 1)
    assert config.kind == {"crosscoder": "crosscoder", "difference": "difference"}.get(
        name.split("-")[0], "shared"
    )
