"""Nearest decoder rows, against a planted answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from audit.errors import RunFolderError
from dashboards import neighbours as module
from dashboards.neighbours import neighbours, stored_dictionary
from dashboards.store import open_store

WIDTH = 6
HOOK = "blocks.2.hook_resid_post"


def dictionary(path: Path, models: int = 2, count: int = 20) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(count, models, WIDTH)).astype(np.float32)
    rows[7, 0] = 3 * rows[2, 0]
    rows[11, -1] = 0.1 * rows[2, -1]
    rows[5] = 0
    save_file({"W_dec": rows.reshape(count, -1)}, path)
    return rows


@pytest.mark.parametrize("piece", [1, 4, 1000])
def test_planted_neighbours_are_found_whatever_the_piece(
    piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    rows = dictionary(tmp_path / "w.safetensors")
    found = neighbours(tmp_path / "w.safetensors", 2, WIDTH, count=3)
    first = found[found["rank"] == 1].set_index("model")
    assert first["latent"].to_dict() == {"base": 7, "tuned": 11}
    assert first["cosine"].to_numpy() == pytest.approx([1, 1], abs=1e-6)
    second = found[(found["rank"] == 2) & (found["model"] == "base")].iloc[0]
    unit = rows[:, 0] / np.maximum(np.linalg.norm(rows[:, 0], axis=1, keepdims=True), 1e-9)
    cosines = unit @ unit[2]
    assert second["cosine"] == pytest.approx(np.sort(np.delete(cosines, [2, 7]))[-1], abs=1e-6)
    assert 2 not in found["latent"].tolist()


def test_one_row_for_both_models(tmp_path: Path) -> None:
    dictionary(tmp_path / "w.safetensors", models=1)
    assert set(neighbours(tmp_path / "w.safetensors", 2, WIDTH)["model"]) == {"both"}


@pytest.mark.parametrize("latent", [-1, 20])
def test_a_latent_that_is_not_there_is_an_error(latent: int, tmp_path: Path) -> None:
    dictionary(tmp_path / "w.safetensors")
    with pytest.raises(RunFolderError, match="cannot be read"):
        neighbours(tmp_path / "w.safetensors", latent, WIDTH)


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(RunFolderError, match="cannot be read"):
        neighbours(tmp_path / "w.safetensors", 0, WIDTH)


def test_the_first_seed_is_the_one(miniature: Callable[[str], Path], tmp_path: Path) -> None:
    run = miniature("compare")
    seed = json.loads((run / "manifest.json").read_text())["seed"]
    assert stored_dictionary(open_store(run), HOOK) is None
    folder = run / "stages/features/dictionaries" / HOOK / f"seed-{seed}"
    folder.mkdir(parents=True)
    dictionary(folder / "sae_weights.safetensors")
    found = stored_dictionary(open_store(run), HOOK)
    assert found is not None
    assert found.size == (folder / "sae_weights.safetensors").stat().st_size
    assert stored_dictionary(open_store(run), "../../../../../" + HOOK) is None


def test_a_dictionary_behind_a_link_is_not_read(miniature: Callable[[str], Path], tmp_path: Path) -> None:
    run, outside = miniature("compare"), tmp_path / "w.safetensors"
    dictionary(outside)
    folder = run / "stages/features/dictionaries" / HOOK / "seed-0"
    folder.mkdir(parents=True)
    (folder / "sae_weights.safetensors").symlink_to(outside)
    assert stored_dictionary(open_store(run), HOOK) is None
