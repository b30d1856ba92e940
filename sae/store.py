"""Activations on the disk: safetensors shards in the models' own dtype, and an index that vouches for them.

A shard is one pool of a harvest. It is written whole under another name and then renamed, and so is the index
after it: a process that is killed leaves a store that the next one goes on with.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sae.errors import StoreError
from sae.harvest import Harvest
from sae.masking import HarvestState, HarvestStats
from sae.types import PairedActivations, TokenInfo

INDEX, FORMAT = "index.json", 1
AGAIN = "delete the folder and harvest again"
OpenHarvest = Callable[[HarvestState], Harvest]


@dataclass(frozen=True)
class Shard:
    """One file of activations."""

    file: str
    sha256: str
    tokens: int


@dataclass(frozen=True)
class _Index:
    key: dict[str, Any]
    shards: tuple[Shard, ...] = ()
    state: HarvestState = field(default_factory=HarvestState)
    complete: bool = False


@dataclass(frozen=True)
class Store:
    """Finished activations in a folder."""

    folder: Path
    shards: tuple[Shard, ...]
    stats: HarvestStats
    """Of the harvest that filled it."""

    def __iter__(self) -> Iterator[PairedActivations]:
        """The activations as they were harvested, one shard in memory at a time.

        Raises:
            StoreError: a shard is missing or damaged; it is named.
        """
        for shard in self.shards:
            yield _read(self.folder, shard)


def keep(folder: Path, harvest: OpenHarvest, key: Mapping[str, Any]) -> Store:
    """Fills a folder with a harvest, going on where an earlier call was stopped.

    Args:
        folder: made if it is not there.
        harvest: opens the harvest at a state; the shards before that are there already.
        key: everything that the activations depend on, as JSON.

    Raises:
        StoreError: the folder holds another harvest or damaged shards, or cannot be written.
    """
    wanted = json.loads(json.dumps(dict(key)))
    index = _read_index(folder) or _Index(wanted)
    if index.key != wanted:
        fix = "choose another folder, or delete this one"
        raise StoreError("the folder holds the activations of another harvest", where=str(folder), fix=fix)
    for shard in index.shards:
        _check(folder, shard)
    if not index.complete:
        index = _fill(folder, harvest(index.state), index)
    return Store(folder, index.shards, index.state.stats)


def open_store(folder: Path) -> Store:
    """The finished activations of a folder.

    Raises:
        StoreError: there are none, or the harvest was stopped before its end.
    """
    index = _read_index(folder)
    if index is None or not index.complete:
        problem = "there are no activations" if index is None else "the harvest was not finished"
        raise StoreError(problem, where=str(folder), fix="run the harvest again: it goes on where it was")
    return Store(folder, index.shards, index.state.stats)


def _fill(folder: Path, stream: Harvest, index: _Index) -> _Index:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for activations in stream:
            shard = _write(folder, f"shard-{len(index.shards):05d}.safetensors", activations)
            index = _Index(index.key, (*index.shards, shard), stream.state)
            _write_index(folder, index)
        index = _Index(index.key, index.shards, stream.state, complete=True)
        _write_index(folder, index)
    except (OSError, SafetensorError) as error:
        problem = f"the activations cannot be written: {error}"
        raise StoreError(problem, where=str(folder), fix="make room there, then run it again") from error
    return index


def _write(folder: Path, name: str, activations: PairedActivations) -> Shard:
    info = {name: values.contiguous() for name, values in vars(activations.info).items()}
    temporary = folder / f".{name}.partial"
    save_file({"x_NLMD": activations.x_NLMD.contiguous(), **info}, temporary)
    digest = _sha256(temporary)
    _publish(temporary, folder / name)
    return Shard(name, digest, len(activations.x_NLMD))


def _write_index(folder: Path, index: _Index) -> None:
    content = {
        "format": FORMAT,
        "key": index.key,
        "complete": index.complete,
        "state": index.state.to_json(),
        "shards": [asdict(shard) for shard in index.shards],
    }
    temporary = folder / f".{INDEX}.partial"
    temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    _publish(temporary, folder / INDEX)


def _publish(temporary: Path, path: Path) -> None:
    with temporary.open("rb+") as stream:
        os.fsync(stream.fileno())
    temporary.replace(path)


def _read_index(folder: Path) -> _Index | None:
    path = folder / INDEX
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
        shards = tuple(Shard(**shard) for shard in content["shards"])
        state = HarvestState.from_json(content["state"])
        return _Index(content["key"], shards, state, content["complete"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the index cannot be read: {error}", where=str(path), fix=AGAIN) from error


def _check(folder: Path, shard: Shard) -> Path:
    path = folder / shard.file
    if not path.is_file():
        raise StoreError("a shard of the activations is missing", where=str(path), fix=AGAIN)
    if _sha256(path) != shard.sha256:
        raise StoreError("a shard of the activations is damaged", where=str(path), fix=AGAIN)
    return path


def _read(folder: Path, shard: Shard) -> PairedActivations:
    columns = load_file(_check(folder, shard))
    return PairedActivations(columns.pop("x_NLMD"), TokenInfo(**columns))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
