"""What the readers share: files, errors, and folding into raw units."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sae.dictionaries.weights import Weights
from sae.errors import DictionaryError

BLOCK = re.compile(r"(?:.*\.)?(?:layers|h)\.(\d+)")
"""The module of a block, as transformers names it."""


class Opened(NamedTuple):
    """An SAE as its file has it, in raw units."""

    weights: Weights
    """Of one stream."""
    k: int | None
    """Latents that a token keeps; none: by threshold."""
    notes: dict[str, Any]


def settings(path: Path) -> dict[str, Any]:
    """A file of settings.

    Raises:
        DictionaryError: it is missing or holds no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not isinstance(found, dict):
        raise unreadable(path, ValueError("it holds no object"))
    return found


def safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file.

    Raises:
        DictionaryError: it cannot be read.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from error


def taken(tensors: dict[str, Tensor], path: Path, *names: str) -> list[Tensor]:
    """Tensors by name, in float32.

    Raises:
        DictionaryError: one is missing.
    """
    missing = [name for name in names if name not in tensors]
    if missing:
        held = ", ".join(sorted(tensors)) or "nothing"
        raise unreadable(path, KeyError(f"{', '.join(missing)} (the file holds {held})"))
    return [tensors[name].float() for name in names]


def opened(
    encoder_FD: Tensor,
    bias_F: Tensor,
    decoder_FD: Tensor,
    bias_D: Tensor,
    *,
    threshold: Tensor | float = 0.0,
    k: int | None = None,
    shifted: bool = False,
    norms: bool = False,
    notes: dict[str, Any] | None = None,
) -> Opened:
    """Folds what a library does at run time into the weights.

    Args:
        encoder_FD: a row per latent.
        bias_F: of the encoder.
        decoder_FD: a row per latent.
        bias_D: of the decoder.
        threshold: [F] or one for all, in units of the pre-activation.
        k: as in `Opened`.
        shifted: the decoder's bias is subtracted from the input.
        norms: codes come out multiplied with the norms of the decoder's rows, and are selected so.
        notes: as in `Opened`.

    Raises:
        DictionaryError: shapes do not fit each other, or a number is not finite.
    """
    limit = torch.as_tensor(threshold, dtype=torch.float32).expand(len(bias_F))
    if shifted and encoder_FD.shape[1:] == bias_D.shape:
        bias_F = (bias_F.double() - encoder_FD.double() @ bias_D.double()).float()
    if norms:
        norm = decoder_FD.norm(dim=1).clamp(min=1e-12)
        encoder_FD, decoder_FD = encoder_FD * norm[:, None], decoder_FD / norm[:, None]
        bias_F, limit = bias_F * norm, limit * norm
    weights = Weights(encoder_FD[:, None], bias_F, limit, decoder_FD[:, None], bias_D[None])
    if k is not None and not 1 <= k <= len(bias_F):
        raise DictionaryError(
            f"k is {k} and there are {len(bias_F)} latents", where="k", fix="mend the settings"
        )
    return Opened(weights, k, notes or {})


def block_output(module: str) -> str:
    """A hook point's name for a module's output; blocks as TransformerLens names them."""
    found = BLOCK.fullmatch(module)
    return f"blocks.{found[1]}.hook_resid_post" if found else module


def unreadable(path: Path, error: Exception) -> DictionaryError:
    """The error of a file that is missing or broken."""
    return DictionaryError(
        f"this is no dictionary that can be read: {type(error).__name__}: {error}",
        where=str(path),
        fix="fetch or write the folder's files again",
    )


def unsupported(path: Path, kind: str, fix: str) -> DictionaryError:
    """The error of a kind that is not read."""
    return DictionaryError(f"dictionaries of the kind {kind} are not read", where=str(path), fix=fix)
