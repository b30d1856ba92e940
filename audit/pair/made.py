"""Pairs that `audit train` made: a run folder, or the folder of a pair's manifest, stands for both models."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from audit.errors import CheckpointError, PairMismatchError
from audit.pair.checkpoint import LoadOptions, resolve
from audit.progress import Progress
from training.errors import TrainingError

MANIFEST = "pair.json"
"""As in `training.pairs`, whose import would cost torch."""


class Named(NamedTuple):
    """Two model references."""

    base: str
    tuned: str


def made_pair(text: str, options: LoadOptions, progress: Progress) -> Named | None:
    """The pair of a folder; None where it holds no pair.

    Raises:
        CheckpointError: the manifest or the trained model is broken.
        PairMismatchError: the base is no longer the one that was trained.
    """
    places = (Path(text), Path(text) / "stages" / "train")
    folder = next((place for place in places if (place / MANIFEST).is_file()), None)
    if folder is None:
        return None
    from training.pairs import read_pair

    try:
        pair = read_pair(folder)
    except TrainingError as error:
        raise CheckpointError(error.problem, where=error.where, fix=error.fix) from error
    if resolve(pair.base, options, progress).base_identity != pair.base_identity:
        raise PairMismatchError(
            "The base is not the model that was trained.",
            where=f"{folder / MANIFEST}: base_identity",
            fix="bring that base back, or name both models: audit compare BASE TUNED",
        )
    child = str(folder / pair.after)
    return Named(pair.base, f"{pair.base}+{child}" if pair.kind == "adapter" else child)
