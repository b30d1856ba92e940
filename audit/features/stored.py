"""The dictionaries that a run folder holds, found again; the folder is not trusted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from audit.errors import RunFolderError, UsageError
from audit.evidence.files import read_json, sha256_file
from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Done
from audit.evidence.stage import DONE
from audit.features.source import block_read
from sae.dictionaries.storage import CONFIG, WEIGHTS


class StoredDictionary(NamedTuple):
    """Where a run keeps the dictionary of a hook point."""

    hook: str
    layer: int
    folder: Path


def stored_dictionary(run: RunFolder, hook: str | None) -> StoredDictionary:
    """The dictionary of a hook point (of the first seed) that the run holds, its files as they were written.

    Raises:
        RunFolderError: the run has none, or its files were changed.
        UsageError: there is no such hook point.
    """
    result = run.optional("features")
    if result is None or not result.hooks:
        raise no_dictionary(run, "its stage `features` was not run")
    names = [found.hook for found in result.hooks]
    if hook is not None and hook not in names:
        raise UsageError(f"There is no hook point {hook!r}.", where="--hook", fix=f"use {', '.join(names)}")
    name = hook or names[0]
    layer = block_read(name)
    folder = _first_seed(run, name)
    if folder is None or layer is None or layer < 0:
        raise no_dictionary(run, f"the dictionary of {name} was loaded from elsewhere, not stored")
    return StoredDictionary(name, layer, folder)


def no_dictionary(run: RunFolder, reason: str) -> RunFolderError:
    """The error of a run that has nothing to probe with."""
    return RunFolderError(
        f"This run holds no dictionary of a pair: {reason}.",
        where=str(run.path),
        fix="probe a run of `audit compare` whose stage `features` trained its dictionary",
    )


def _first_seed(run: RunFolder, hook: str) -> Path | None:
    """The folder of the first seed's dictionary, if DONE lists it and its files are those."""
    stage = run.stage_path("features")
    done = Done.model_validate(read_json(stage / DONE))
    start = f"dictionaries/{hook}/seed-"
    listed = [name for name in done.files if name.startswith(start) and name.endswith(f"/{CONFIG}")]
    seeds = sorted(int(seed) for name in listed if (seed := name[len(start) : -len(CONFIG) - 1]).isdigit())
    if not seeds:
        return None
    folder = stage / f"{start}{seeds[0]}"
    for name in (CONFIG, WEIGHTS):
        path, said = folder / name, done.files.get(f"{start}{seeds[0]}/{name}")
        inside = path.resolve().is_relative_to(run.path.resolve())
        if not inside or not path.is_file() or sha256_file(path) != said:
            raise RunFolderError(
                "A file of the dictionary is missing, changed, or lies outside the run folder.",
                where=str(path),
                fix="look at what `audit verify` says of this run",
            )
    return folder
