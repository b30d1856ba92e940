"""Dictionaries on disk, in SAELens's layout: cfg.json and sae_weights.safetensors, never pickle.

A crosscoder is stored as a JumpReLU SAE of both streams side by side (d_in = 2 D), a difference SAE as one
of the difference (d_in = D). `normalize_activations` is always "none": normalisation is folded away when
training ends, and a file that says otherwise is refused rather than folded once more.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sae.dictionaries.paired import Crosscoder, DifferenceSAE, PairedCoder, Weights
from sae.dictionaries.shared import SharedSAE
from sae.errors import DictionaryError

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
ARCHITECTURES: dict[str, type[PairedCoder]] = {
    kind.architecture: kind for kind in (Crosscoder, DifferenceSAE)
}


def save(dictionary: PairedCoder | SharedSAE, folder: Path) -> None:
    """Writes a dictionary: `cfg.json` and `sae_weights.safetensors`.

    Raises:
        DictionaryError: the folder cannot be written.
    """
    files = _shared_files(dictionary) if isinstance(dictionary, SharedSAE) else _paired_files(dictionary)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        packed = {name: tensor.detach().cpu().contiguous() for name, tensor in files.tensors.items()}
        _whole(folder / WEIGHTS, lambda path: save_file(packed, path))
        text = json.dumps(files.config, indent=1)
        _whole(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as error:
        raise DictionaryError(
            f"the dictionary cannot be written: {error}",
            where=str(folder),
            fix="make room, or choose another folder",
        ) from error


def load(folder: Path, device: str = "cpu") -> PairedCoder | SharedSAE:
    """Reads what `save` or SAELens wrote; never unpickles.

    Raises:
        DictionaryError: the files are missing, broken, of another format, do not fit each other, or hold
            numbers that are not finite.
    """
    config = _config(folder)
    if config.get("architecture") in ARCHITECTURES:
        return _load_paired(folder, config, device)
    if not (folder / WEIGHTS).is_file():
        raise _unreadable(folder / WEIGHTS, FileNotFoundError("it is missing"))
    from sae.dictionaries.saelens import load_saelens

    return load_saelens(folder, device)


def architecture_of(folder: Path) -> str | None:
    """What kind of dictionary a folder says that it holds, without reading its weights.

    Raises:
        DictionaryError: it says nothing that can be read.
    """
    found = _config(folder).get("architecture")
    return found if isinstance(found, str) else None


class _Files(NamedTuple):
    config: dict[str, Any]
    tensors: dict[str, Tensor]


def _shared_files(dictionary: SharedSAE) -> _Files:
    sae = dictionary.sae
    tensors = dict(sae.state_dict())
    sae.process_state_dict_for_saving(tensors)
    config = sae.cfg.to_dict()
    return _Files({**config, "metadata": {**config["metadata"], **dictionary.notes}}, tensors)


def _paired_files(dictionary: PairedCoder) -> _Files:
    weights, notes = dictionary.weights, dictionary.notes
    tensors = {
        "W_enc": weights.encoder_FMD.flatten(1).T,
        "b_enc": weights.bias_F,
        "threshold": weights.threshold_F,
        "W_dec": weights.decoder_FMD.flatten(1),
        "b_dec": weights.bias_MD.flatten(),
    }
    config = {
        "architecture": dictionary.architecture,
        "d_in": dictionary.models * dictionary.width,
        "d_sae": dictionary.latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {**notes, "sae_lens_version": version("sae-lens")},
    }
    return _Files(config, tensors)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(folder / CONFIG, error) from error
    if not isinstance(config, dict):
        raise _unreadable(folder / CONFIG, ValueError("it holds no object"))
    return config


def _load_paired(folder: Path, config: dict[str, Any], device: str) -> PairedCoder:
    kind = ARCHITECTURES[config["architecture"]]
    if config.get("normalize_activations") != "none" or config.get("apply_b_dec_to_input") is not False:
        raise DictionaryError(
            "the dictionary wants its input normalised or shifted; dictionaries of a pair work in raw units",
            where=str(folder / CONFIG),
            fix="save it with sae.dictionaries.save, which folds the normalisation away",
        )
    try:
        tensors = load_file(folder / WEIGHTS, device=device)
        latents, wide = int(config["d_sae"]), int(config["d_in"])
        shapes = {"W_enc": (wide, latents), "b_enc": (latents,), "threshold": (latents,)}
        shapes |= {"W_dec": (latents, wide), "b_dec": (wide,)}
        wrong = [name for name, shape in shapes.items() if tuple(tensors[name].shape) != shape]
        metadata = dict(config.get("metadata", {}))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder / WEIGHTS, error) from error
    if wrong or wide % kind.models:
        raise DictionaryError(
            f"tensors do not have the shapes that {CONFIG} says: {', '.join(wrong) or 'd_in'}",
            where=str(folder / WEIGHTS),
            fix="use the two files as they were saved together",
        )
    return kind(_unpacked(tensors, kind.models), metadata)


def _unpacked(tensors: dict[str, Tensor], models: int) -> Weights:
    latents = len(tensors["b_enc"])
    return Weights(
        tensors["W_enc"].T.reshape(latents, models, -1),
        tensors["b_enc"],
        tensors["threshold"],
        tensors["W_dec"].reshape(latents, models, -1),
        tensors["b_dec"].reshape(models, -1),
    )


def _unreadable(path: Path, error: Exception) -> DictionaryError:
    return DictionaryError(
        f"this is no dictionary that can be read: {type(error).__name__}: {error}",
        where=str(path),
        fix=f"name a folder with {CONFIG} and {WEIGHTS}",
    )


def _whole(path: Path, write: Any) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        with suppress(OSError):  # not there, or in no folder at all
            temporary.unlink()
