"""saprmarks/dictionary_learning: ae.pt, and config.json of its trainer.

| dict_class | pre | kept |
|---|---|---|
| AutoEncoder | encoder(x - bias) | ReLU |
| AutoEncoderNew | encoder(x) | ReLU |
| AutoEncoderTopK | encoder(x - b_dec) | k largest |
| BatchTopKSAE | encoder(x - b_dec) | above `threshold`, a number |
| MatryoshkaBatchTopKSAE | (x - b_dec) W_enc + b_enc | likewise |
| JumpReluAutoEncoder | x W_enc + b_enc | above `threshold` [F]; codes are multiplied with decoder norms |

ae.pt is a pickle: it is opened with torch's `weights_only`, which builds tensors and runs nothing.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from sae.dictionaries.readers.parts import (
    Opened,
    block_output,
    opened,
    settings,
    taken,
    unreadable,
    unsupported,
)

LINEAR = ("encoder.weight", "encoder.bias", "decoder.weight")
MATRICES = ("W_enc", "b_enc", "W_dec", "b_dec")


def read(folder: Path) -> Opened:
    """An SAE; its class is what config.json says, else what the tensors' names tell.

    Raises:
        DictionaryError: the files cannot be read or do not fit each other, or it is of another class.
    """
    path, trainer = folder / "ae.pt", _trainer(folder)
    tensors = _tensors(path)
    kind = str(trainer.get("dict_class") or _guessed(tensors))
    notes = {"folder": folder.name, "dict_class": kind, **_hook(trainer)}
    if kind == "AutoEncoder":
        encoder, bias, decoder, out = taken(tensors, path, *LINEAR, "bias")
        return opened(encoder, bias, decoder.T, out, shifted=True, notes=notes)
    if kind == "AutoEncoderNew":
        encoder, bias, decoder, out = taken(tensors, path, *LINEAR, "decoder.bias")
        return opened(encoder, bias, decoder.T, out, notes=notes)
    if kind == "AutoEncoderTopK":
        encoder, bias, decoder, out, k = taken(tensors, path, *LINEAR, "b_dec", "k")
        return opened(encoder, bias, decoder.T, out, k=int(k), shifted=True, notes=notes)
    if kind == "BatchTopKSAE":
        encoder, bias, decoder, out, line = taken(tensors, path, *LINEAR, "b_dec", "threshold")
        return opened(encoder, bias, decoder.T, out, threshold=line, shifted=True, notes=notes)
    if kind in ("MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder"):
        jump = kind == "JumpReluAutoEncoder"
        encoder, bias, decoder, out, line = taken(tensors, path, *MATRICES, "threshold")
        return opened(
            encoder.T, bias, decoder, out, threshold=line, shifted=not jump, norms=jump, notes=notes
        )
    raise unsupported(path, kind, "name one of the classes AutoEncoder(New), TopK, BatchTopK or JumpRelu")


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, ValueError, EOFError, KeyError) as error:
        raise unreadable(path, ValueError(str(error).splitlines()[0][:200])) from error
    if not isinstance(found, dict) or not all(isinstance(part, Tensor) for part in found.values()):
        raise unreadable(path, ValueError("it holds more than tensors: a checkpoint of a run, not an SAE"))
    return found


def _guessed(tensors: dict[str, Tensor]) -> str:
    if "W_enc" in tensors:
        per_latent = "threshold" in tensors and tensors["threshold"].ndim == 1
        return "JumpReluAutoEncoder" if per_latent else "MatryoshkaBatchTopKSAE"
    if "bias" in tensors:
        return "AutoEncoder"
    if "decoder.bias" in tensors:
        return "AutoEncoderNew"
    return "of no class that its tensors would tell; config.json is missing"


def _trainer(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        return {}
    found = settings(folder / "config.json").get("trainer")
    return found if isinstance(found, dict) else {}


def _hook(trainer: dict[str, Any]) -> dict[str, Any]:
    """Where it reads, if the trainer says: `resid_post_layer_3`, or a module's name."""
    name, layer = trainer.get("submodule_name"), trainer.get("layer")
    if name is None:
        return {}
    residual = str(name).startswith("resid_post") and layer is not None
    return {"hook_name": f"blocks.{layer}.hook_resid_post" if residual else block_output(str(name))}
