"""SAELens from version 6: cfg.json and sae_weights.safetensors, read without importing SAELens.

pre = (x - b_dec) W_enc + b_enc, the shift only with `apply_b_dec_to_input`; standard: ReLU; jumprelu (also
what BatchTopK is saved as): above `threshold`; topk: the k largest, with `rescale_acts_by_decoder_norm` of
the pre-activation times decoder norms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sae.dictionaries.readers.parts import Opened, opened, safetensors, settings, taken, unreadable

COMMON = {"W_enc", "W_dec", "b_enc", "b_dec"}
OWN = {"standard": COMMON, "topk": COMMON, "jumprelu": COMMON | {"threshold"}}
"""Architectures that are read here, and their tensors."""


def read(folder: Path) -> Opened | None:
    """An SAE of raw activations; None where only SAELens knows what its settings mean.

    Raises:
        DictionaryError: the files cannot be read or do not fit each other.
    """
    config, path = settings(folder / "cfg.json"), folder / "sae_weights.safetensors"
    wanted = OWN.get(str(config.get("architecture")))
    plain = all(config.get(name) == "none" for name in ("normalize_activations", "reshape_activations"))
    if wanted is None or not plain or not isinstance(config.get("metadata"), dict):
        return None
    tensors = safetensors(path)
    if set(tensors) - wanted:
        return None
    encoder, decoder, bias, out = taken(tensors, path, "W_enc", "W_dec", "b_enc", "b_dec")
    (threshold,) = taken(tensors, path, "threshold") if "threshold" in wanted else (0.0,)
    try:
        k = int(config["k"]) if config["architecture"] == "topk" else None
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(folder / "cfg.json", error) from error
    notes: dict[str, Any] = {"folder": folder.name, **config["metadata"]}
    return opened(
        encoder.T,
        bias,
        decoder,
        out,
        threshold=threshold,
        k=k,
        shifted=bool(config.get("apply_b_dec_to_input")),
        norms=bool(config.get("rescale_acts_by_decoder_norm")) and k is not None,
        notes=notes,
    )
