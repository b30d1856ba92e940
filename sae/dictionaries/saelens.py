"""The bridge to SAELens: what only it can load, its releases, and our dictionaries in its registry.

Imports sae_lens (seconds), so it is itself imported only where SAELens is needed.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sae_lens import SAE, JumpReLUSAE, JumpReLUSAEConfig, register_sae_class
from sae_lens.registry import SAE_CLASS_REGISTRY

from sae.dictionaries.foreign import ForeignSAE
from sae.dictionaries.paired import Crosscoder, DifferenceSAE
from sae.dictionaries.readers import saelens as reader
from sae.dictionaries.shared import SharedSAE
from sae.errors import DictionaryError


def register() -> None:
    """Makes `SAE.load_from_disk` read our dictionaries: JumpReLU SAEs of both streams side by side.

    A crosscoder's d_in is 2 D (base, then tuned), a difference SAE's is D (tuned minus base).
    """
    for kind in (Crosscoder, DifferenceSAE):
        if kind.architecture not in SAE_CLASS_REGISTRY:
            name = classmethod(lambda cls, name=kind.architecture: name)
            config = type(f"{kind.__name__}Config", (JumpReLUSAEConfig,), {"architecture": name})
            register_sae_class(kind.architecture, type(kind.__name__, (JumpReLUSAE,), {}), config)


def load_saelens(folder: Path, device: str = "cpu") -> SharedSAE:
    """An SAE in a folder of SAELens's layout (cfg.json, sae_weights.safetensors).

    Raises:
        DictionaryError: the files cannot be read, hold numbers that are not finite, or are of an SAE that
            does not work on raw activations.
    """
    try:
        sae = SAE.load_from_disk(folder, device=device)
    except Exception as error:  # SAELens raises whatever its parts raise: KeyError, RuntimeError, ...
        raise DictionaryError(
            f"SAELens cannot load this SAE: {_said(error)}",
            where=str(folder),
            fix="name a folder that SAELens's save_model or save_inference_model has written",
        ) from error
    return _wrapped(sae, {"folder": folder.name}, str(folder))


def load_release(release: str, sae_id: str, device: str = "cpu") -> SharedSAE:
    """An SAE of a SAELens release, fetched from the hub.

    Raises:
        DictionaryError: there is no such release or id, it cannot be fetched, or it does not work on raw
            activations.
    """
    try:
        sae = SAE.from_pretrained(release, sae_id, device=device)
    except Exception as error:  # a hub, a converter per release, and files: all of their errors
        raise DictionaryError(
            f"SAELens cannot load this release: {_said(error)}",
            where=f"{release}:{sae_id}",
            fix="look the release and id up in SAELens's table of pretrained SAEs",
        ) from error
    return _wrapped(sae, {"release": release, "sae_id": sae_id}, f"{release}:{sae_id}")


def _said(error: Exception) -> str:
    """The first line: errors of the hub go on for pages."""
    lines = str(error).strip().splitlines() or ["it does not say why"]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _wrapped(sae: Any, notes: dict[str, Any], where: str) -> SharedSAE:
    """By our own reader where it knows the architecture, so that it encodes sparsely; else as it is."""
    for name, tensor in sae.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise DictionaryError(
                f"the SAE's {name} holds numbers that are not finite",
                where=where,
                fix="fetch it again, or train it with a lower learning rate",
            )
    with TemporaryDirectory() as folder:
        sae.save_model(folder)
        found = reader.read(Path(folder))
    if found is None:
        return ForeignSAE(sae, notes)
    return SharedSAE(found.weights, found.k, {**found.notes, **notes}).to(sae.device)
