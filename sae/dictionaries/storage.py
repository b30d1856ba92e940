"""Dictionaries on disk: written in SAELens's layout, cfg.json and sae_weights.safetensors; read in four.

A crosscoder is stored as a JumpReLU SAE of both streams side by side (d_in = 2 D), a difference SAE as one
of the difference (d_in = D), a single-model SAE as what it is (topk, or jumprelu). `normalize_activations` is
always "none": normalisation is folded away when training ends, and a paired dictionary whose file says
otherwise is refused rather than folded once more.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sae.dictionaries.foreign import ForeignSAE
from sae.dictionaries.health import AnyDictionary
from sae.dictionaries.paired import Crosscoder, DifferenceSAE, PairedCoder
from sae.dictionaries.readers import layout_of, read_foreign
from sae.dictionaries.readers.parts import safetensors, settings, unreadable
from sae.dictionaries.shared import SharedSAE
from sae.dictionaries.weights import WeightedCoder, Weights
from sae.errors import DictionaryError

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
ARCHITECTURES: dict[str, type[PairedCoder]] = {
    kind.architecture: kind for kind in (Crosscoder, DifferenceSAE)
}


def save(dictionary: AnyDictionary, folder: Path) -> None:
    """Writes a dictionary: `cfg.json` and `sae_weights.safetensors`.

    Raises:
        DictionaryError: the folder cannot be written.
    """
    files = _files(dictionary)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        packed = {name: _alone(tensor) for name, tensor in files.tensors.items()}
        _whole(folder / WEIGHTS, lambda path: save_file(packed, path))
        text = json.dumps(files.config, indent=1)
        _whole(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as error:
        raise DictionaryError(
            f"the dictionary cannot be written: {error}",
            where=str(folder),
            fix="make room, or choose another folder",
        ) from error


def load(folder: Path, device: str = "cpu") -> AnyDictionary:
    """Reads what `save`, SAELens, sparsify or dictionary_learning wrote, or a folder of Gemma Scope.

    Files of dictionary_learning are pickles; they are opened so that nothing in them can run.

    Raises:
        DictionaryError: the files are missing, broken, of another format, do not fit each other, or hold
            numbers that are not finite.
    """
    if layout_of(folder) == "SAELens":
        config = settings(folder / CONFIG)
        if config.get("architecture") in ARCHITECTURES:
            return _load_paired(folder, config, device)
    found = read_foreign(folder)
    if found is not None:
        return SharedSAE(*found).to(device)
    from sae.dictionaries.saelens import load_saelens

    return load_saelens(folder, device)


def architecture_of(folder: Path) -> str | None:
    """What kind of dictionary a folder says that it holds, without reading its weights.

    Raises:
        DictionaryError: it is none, or says nothing that can be read.
    """
    layout = layout_of(folder)
    if layout != "SAELens":
        return layout
    found = settings(folder / CONFIG).get("architecture")
    return found if isinstance(found, str) else None


class _Files(NamedTuple):
    config: dict[str, Any]
    tensors: dict[str, Tensor]


def _files(dictionary: AnyDictionary) -> _Files:
    if isinstance(dictionary, ForeignSAE):
        return _foreign_files(dictionary)
    if isinstance(dictionary, PairedCoder):
        return _own_files(dictionary, dictionary.architecture)
    return _own_files(dictionary, "jumprelu" if dictionary.k is None else "topk")


def _alone(tensor: Tensor) -> Tensor:
    """In memory of its own, as a safetensors file wants every tensor."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _foreign_files(dictionary: ForeignSAE) -> _Files:
    sae = dictionary.sae
    tensors = dict(sae.state_dict())
    sae.process_state_dict_for_saving(tensors)
    config = sae.cfg.to_dict()
    return _Files({**config, "metadata": {**config["metadata"], **dictionary.notes}}, tensors)


def _own_files(dictionary: WeightedCoder, architecture: str) -> _Files:
    weights = dictionary.weights
    tensors = {
        "W_enc": weights.encoder_FMD.flatten(1).T,
        "b_enc": weights.bias_F,
        "threshold": weights.threshold_F,
        "W_dec": weights.decoder_FMD.flatten(1),
        "b_dec": weights.bias_MD.flatten(),
    }
    config = {
        "architecture": architecture,
        "d_in": weights.bias_MD.numel(),
        "d_sae": dictionary.latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {**dictionary.notes, "sae_lens_version": version("sae-lens")},
    }
    if dictionary.k is not None:
        del tensors["threshold"]
        config |= {"k": dictionary.k, "rescale_acts_by_decoder_norm": False}
    return _Files(config, tensors)


def _load_paired(folder: Path, config: dict[str, Any], device: str) -> PairedCoder:
    kind = ARCHITECTURES[config["architecture"]]
    if config.get("normalize_activations") != "none" or config.get("apply_b_dec_to_input") is not False:
        raise DictionaryError(
            "the dictionary wants its input normalised or shifted; dictionaries of a pair work in raw units",
            where=str(folder / CONFIG),
            fix="save it with sae.dictionaries.save, which folds the normalisation away",
        )
    tensors = safetensors(folder / WEIGHTS)
    try:
        latents, wide = int(config["d_sae"]), int(config["d_in"])
        shapes = {"W_enc": (wide, latents), "b_enc": (latents,), "threshold": (latents,)}
        shapes |= {"W_dec": (latents, wide), "b_dec": (wide,)}
        wrong = [name for name, shape in shapes.items() if tuple(tensors[name].shape) != shape]
        metadata = dict(config.get("metadata", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(folder / WEIGHTS, error) from error
    if wrong or wide % kind.models:
        raise DictionaryError(
            f"tensors do not have the shapes that {CONFIG} says: {', '.join(wrong) or 'd_in'}",
            where=str(folder / WEIGHTS),
            fix="use the two files as they were saved together",
        )
    return kind(_unpacked(tensors, kind.models), metadata).to(device)


def _unpacked(tensors: dict[str, Tensor], models: int) -> Weights:
    latents = len(tensors["b_enc"])
    return Weights(
        tensors["W_enc"].T.reshape(latents, models, -1),
        tensors["b_enc"],
        tensors["threshold"],
        tensors["W_dec"].reshape(latents, models, -1),
        tensors["b_dec"].reshape(models, -1),
    )


def _whole(path: Path, write: Any) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        with suppress(OSError):  # not there, or in no folder at all
            temporary.unlink()
