"""Nearest decoder rows of a latent, read from the stored dictionary with numpy, a piece at a time."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from audit.errors import RunFolderError
from dashboards.store import Store, inside

PIECE = 4096
"""Rows that are in memory at a time."""
SMALL = 256 * 2**20
"""Bytes of a dictionary that is searched without being asked."""
WEIGHTS = "sae_weights.safetensors"
FIX = "run `audit verify` on the folder; the command that made the run restores what is broken"


class Stored(NamedTuple):
    """A dictionary in the run folder."""

    path: Path
    size: int
    """Bytes."""


def stored_dictionary(store: Store, hook: str) -> Stored | None:
    """The dictionary of a hook point whose latents the tables number: that of the run's first seed."""
    root = store.run.stage_path("features") / "dictionaries"
    path = inside(root, root / hook / f"seed-{store.manifest.seed}" / WEIGHTS)
    return None if path is None else Stored(path, path.stat().st_size)


def neighbours(path: Path, latent: int, width: int, count: int = 8) -> pd.DataFrame:
    """The rows nearest to a latent's, in each model.

    Args:
        path: safetensors file with `W_dec`, one row per latent: the base's row, then the tuned model's.
        latent: whose neighbours.
        width: of the residual stream.
        count: neighbours per model.

    Returns:
        Columns model, rank, latent, cosine; a dictionary with one row for both models says `both`.

    Raises:
        RunFolderError: the file is broken, or stored in a type that numpy cannot read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            rows = file.get_slice("W_dec")
            total, wide = rows.get_shape()
            if not 0 <= latent < total or wide not in (width, 2 * width):
                raise ValueError(f"W_dec has the shape {total} x {wide}")
            cosines = _cosines(rows, latent, total, width, wide // width)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise RunFolderError(
            f"The dictionary cannot be read: {str(error)[:200]}", where=str(path), fix=FIX
        ) from error
    names = ("base", "tuned") if wide == 2 * width else ("both",)
    return pd.concat([_nearest(name, cosines[m], latent, count) for m, name in enumerate(names)])


def _cosines(rows: object, latent: int, total: int, width: int, models: int) -> np.ndarray:
    """Cosine of every row with the latent's, per model: shape models x latents."""
    own = _unit(rows[latent : latent + 1].reshape(1, models, width))[0]  # type: ignore[index]
    found = np.empty((models, total), np.float32)
    for start in range(0, total, PIECE):
        piece = _unit(rows[start : min(start + PIECE, total)].reshape(-1, models, width))  # type: ignore[index]
        found[:, start : start + len(piece)] = np.einsum("fmd,md->mf", piece, own)
    return found


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay."""
    wide = rows.astype(np.float32, copy=False)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    return np.asarray(wide / np.where(norms > 0, norms, 1))


def _nearest(model: str, cosines: np.ndarray, latent: int, count: int) -> pd.DataFrame:
    others = cosines.copy()
    others[latent] = -np.inf
    best = np.argsort(-others)[: min(count, len(others) - 1)]
    return pd.DataFrame(
        {"model": model, "rank": np.arange(1, len(best) + 1), "latent": best, "cosine": others[best]}
    )
