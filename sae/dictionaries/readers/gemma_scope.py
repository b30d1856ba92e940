"""Gemma Scope (Lieberum et al. 2024, arXiv 2408.05147): params.npz, read without pickles.

JumpReLU: pre = x W_enc + b_enc, kept above `threshold`, decoded by W_dec plus b_dec; nothing is subtracted
from the input. The file does not say of which block it is, nor whether of the residual stream.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from sae.dictionaries.readers.parts import Opened, opened, taken, unreadable

NAMES = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")


def read(folder: Path) -> Opened:
    """A JumpReLU SAE.

    Raises:
        DictionaryError: the file cannot be read, or its arrays do not fit each other.
    """
    path = folder / "params.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name.replace("w_", "W_"): torch.from_numpy(file[name]) for name in file.files}
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise unreadable(path, error) from error
    encoder, bias, decoder, out, threshold = taken(arrays, path, *NAMES)
    return opened(encoder.T, bias, decoder, out, threshold=threshold, notes={"folder": folder.name})
