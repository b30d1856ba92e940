"""Which dictionary an audit asks for, and at which hook points; reads settings only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audit.errors import UsageError

TRAINED = (
    "crosscoder", "crosscoder-l1", "crosscoder-shared", "difference", "topk", "batchtopk", "jumprelu",
)  # fmt: skip
RELEASE = "saelens:"
AS_NAMED = f"{RELEASE}RELEASE:ID (a release's name or a hub repository, and the SAE's id in it)"
WRITTEN_AFTER = re.compile(
    r"blocks\.(\d+)\.hook_resid_post|(?:model\.layers|transformer\.h|gpt_neox\.layers)\.(\d+)"
)
WRITTEN_BEFORE = re.compile(r"blocks\.(\d+)\.hook_resid_pre")


@dataclass(frozen=True)
class DictionarySource:
    """Where a dictionary comes from."""

    kind: Literal["train", "folder", "release"]
    name: str
    """Kind of dictionary to train, path of a folder, or name of a release."""
    sae_id: str = ""
    """Which SAE of the release."""


def dictionary_source(text: str) -> DictionarySource:
    """What `--dictionary` asks for.

    Raises:
        UsageError: it is no kind of dictionary, no folder, and names no release.
    """
    if text in TRAINED:
        return DictionarySource("train", text)
    if text.startswith(RELEASE):
        release, _, sae_id = text.removeprefix(RELEASE).partition(":")
        if release and sae_id:
            return DictionarySource("release", release, sae_id)
    if Path(text).is_dir():
        return DictionarySource("folder", text)
    raise UsageError(
        f"{text!r} is no dictionary that can be trained or loaded.",
        where="--dictionary",
        fix=f"use one of {', '.join(TRAINED)}, a folder of a dictionary (ours or one of SAELens, sparsify, "
        f"dictionary_learning, Gemma Scope), or {AS_NAMED}",
    )


def hook_layers(
    asked: tuple[int, ...], count: int, depth: int, source: DictionarySource, hook_name: str | None = None
) -> tuple[int, ...]:
    """Blocks whose output gets a dictionary: those asked for, else `count` spread evenly over the depth.

    Args:
        asked: the blocks of `--layer`.
        count: how many the preset has.
        depth: blocks of the models.
        source: where the dictionary comes from.
        hook_name: what a loaded dictionary says of the activations that it was trained on.

    Raises:
        UsageError: a block does not exist, or a loaded dictionary is of another one or says none.
    """
    if hook_name is not None:
        asked = _of_loaded(asked, source, hook_name)
    _check_blocks(asked, depth)
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


def check_dictionary(text: str, asked: tuple[int, ...], depth: int) -> None:
    """Refuses settings that no audit of these models can follow, before anything is measured.

    Args:
        text: `--dictionary`.
        asked: `--layer`.
        depth: blocks of the models.

    Raises:
        UsageError: no such dictionary, or no such block.
    """
    dictionary_source(text)
    _check_blocks(asked, depth)


def _check_blocks(asked: tuple[int, ...], depth: int) -> None:
    wrong = [layer for layer in asked if layer >= depth]
    if wrong:
        raise UsageError(
            f"The models have {depth} blocks; there is no block {wrong[0]}.",
            where="--layer",
            fix=f"use 0 to {depth - 1}",
        )


def block_read(hook_name: str) -> int | None:
    """The block whose output a hook point is, -1 for the embedding; None if it is no residual stream.

    TransformerLens's names and those of modules are known: what block N + 1 reads, block N has written.
    """
    if after := WRITTEN_AFTER.fullmatch(hook_name):
        return int(after[1] or after[2])
    before = WRITTEN_BEFORE.fullmatch(hook_name)
    return int(before[1]) - 1 if before else None


def _of_loaded(asked: tuple[int, ...], source: DictionarySource, hook_name: str) -> tuple[int, ...]:
    """The block of a loaded dictionary that says where it reads."""
    block = block_read(hook_name)
    where = f"--dictionary {source.name}"
    if block is None or block < 0:
        raise UsageError(
            f"The dictionary was trained on {hook_name}, which is not the output of a block.",
            where=where,
            fix="use one of the residual stream (hook_resid_post, or hook_resid_pre of a later block)",
        )
    if asked and set(asked) != {block}:
        raise UsageError(
            f"The dictionary was trained on {hook_name}, the output of block {block}.",
            where=f"{where} --layer {asked[0]}",
            fix=f"use --layer {block}, or leave it out",
        )
    return (block,)
