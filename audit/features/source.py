"""Which dictionary an audit asks for, and at which hook points; reads settings only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audit.errors import UsageError

TRAINED = (
    "crosscoder", "crosscoder-l1", "crosscoder-shared", "difference", "topk", "batchtopk", "jumprelu",
)  # fmt: skip
RELEASE = "saelens:"


@dataclass(frozen=True)
class DictionarySource:
    """Where a dictionary comes from."""

    kind: Literal["train", "folder", "release"]
    name: str
    """Kind of dictionary to train, path of a folder, or RELEASE/ID."""


def dictionary_source(text: str) -> DictionarySource:
    """What `--dictionary` asks for.

    Raises:
        UsageError: it is no kind of dictionary, no folder, and names no release.
    """
    if text in TRAINED:
        return DictionarySource("train", text)
    if text.startswith(RELEASE) and "/" in text.removeprefix(RELEASE):
        return DictionarySource("release", text.removeprefix(RELEASE))
    if Path(text).is_dir():
        return DictionarySource("folder", text)
    raise UsageError(
        f"{text!r} is no dictionary that can be trained or loaded.",
        where="--dictionary",
        fix=f"use one of {', '.join(TRAINED)}, a folder in SAELens's layout, or {RELEASE}RELEASE/ID",
    )


def hook_layers(asked: tuple[int, ...], count: int, depth: int, source: DictionarySource) -> tuple[int, ...]:
    """Blocks whose output gets a dictionary: those asked for, else `count` spread evenly over the depth.

    Raises:
        UsageError: a block does not exist, or a loaded dictionary does not know its block.
    """
    wrong = [layer for layer in asked if layer >= depth]
    if wrong:
        raise UsageError(
            f"The models have {depth} blocks; there is no block {wrong[0]}.",
            where="--layer",
            fix=f"use 0 to {depth - 1}",
        )
    if source.kind != "train" and len(set(asked)) != 1:
        raise UsageError(
            "A loaded dictionary belongs to one hook point, and it has to be named.",
            where=f"--dictionary {source.name}",
            fix="name the block whose output it reads: --layer N",
        )
    if asked:
        return tuple(sorted(set(asked)))
    count = min(count, depth)
    return tuple(sorted({depth * (i + 1) // (count + 1) for i in range(count)}))
