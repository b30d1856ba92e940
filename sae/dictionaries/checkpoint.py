"""A training's state in one safetensors file that appears whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sae.dictionaries.stream import Position
from sae.errors import DictionaryError

FORMAT = "unmask-dictionary-training-1"


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stands. There is no random state: only the first weights are drawn."""

    step: int
    position: Position
    """Place in the stream."""
    tensors: Mapping[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with a prefix, without it."""
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def write(path: Path, state: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Writes to a temporary name and renames.

    Args:
        path: the file; its folder is made if missing.
        state: what to write.
        identity: what must be equal for a run to go on from here, as JSON.

    Raises:
        DictionaryError: the file cannot be written.
    """
    where = {"step": state.step, "position": list(state.position)}
    header = {"format": FORMAT, "state": json.dumps(where), "identity": json.dumps(dict(identity))}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: t.detach().cpu().contiguous() for name, t in state.tensors.items()}, temporary, header
        )
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise DictionaryError(
            f"the checkpoint cannot be written: {error}",
            where=str(path),
            fix="make room and repeat the command",
        ) from error
    finally:
        with suppress(OSError):  # not there, or in no folder at all
            temporary.unlink()


def read(path: Path, identity: Mapping[str, Any]) -> Checkpoint | None:
    """The checkpoint of the same training; None where there is none.

    Raises:
        DictionaryError: it is broken, or belongs to other settings.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        where, found = json.loads(header["state"]), json.loads(header["identity"])
        state = Checkpoint(int(where["step"]), Position(*where["position"]), tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DictionaryError(
            f"the checkpoint cannot be read: {error}", where=str(path), fix="remove it and start again"
        ) from error
    changed = sorted(name for name in identity if found.get(name) != identity[name])
    if header.get("format") != FORMAT or changed:
        raise DictionaryError(
            f"the checkpoint belongs to another training (other {', '.join(changed) or 'format'})",
            where=str(path),
            fix="remove it, or use the settings that it was made with",
        )
    return state
