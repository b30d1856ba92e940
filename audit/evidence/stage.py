"""One stage of a run: done once, found again by its key, safe against a kill at any moment.

The key is the SHA-256 of the stage's inputs, its config and the code version. A stage is done when DONE
exists, which is written last and lists the hash of every file; anything else is made again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import AuditError, RunFolderError
from audit.evidence.files import (
    TEMPORARY,
    output_errors,
    read_json,
    read_table,
    sha256_file,
    sha256_json,
    write_json,
    write_table,
)
from audit.evidence.provenance import code_version
from audit.evidence.run import RunFolder
from audit.evidence.schema import TABLES, documents

if TYPE_CHECKING:
    import pandas as pd

Body = Callable[["StageFolder"], documents.Document]
DONE, RESULT, PARTS = "DONE", "result.json", ".parts-"


class StageFolder:
    """Where one stage writes: its tables, and parts of long work that a kill need not undo."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key

    @property
    def parts(self) -> Path:
        """Folder of the parts finished so far; another key has another folder."""
        return self.path / f"{PARTS}{self.key[:12]}"

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        """Writes one table of the schema."""
        write_table(self.path / f"{name}.parquet", TABLES[name], frame)

    def part(self, part: str, table: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """A part of a table: read back if an earlier try finished it, else computed and kept until DONE."""
        path = self.parts / f"{part}.parquet"
        if path.is_file():
            with suppress(RunFolderError):  # a damaged part is computed again
                return read_table(path, TABLES[table])
        write_table(path, TABLES[table], compute())
        return read_table(path, TABLES[table])


def run_stage(
    run: RunFolder, stage: str, inputs: dict[str, Any], body: Body, *, skip: str | None = None
) -> Any:
    """The stage's result: from disk if the same inputs and code made it already, else by running `body`.

    Args:
        run: the run folder, locked for writing.
        stage: name of the stage; `schema.results.RESULTS` has its result's model.
        inputs: everything that the result depends on, as JSON.
        body: writes its tables into the folder it is given and returns the result.
        skip: why the stage is not to be run, if so; then its result is None unless it is there already.
    """
    key = sha256_json({"stage": stage, "inputs": inputs, "code": code_version()})
    folder = StageFolder(run.stage_path(stage), key)
    done = finished(folder.path, key)
    if done is None and skip is not None:
        run.forget(stage)
        run.update_stage(stage, documents.StageState(status="skipped", reason=skip))
        return None
    if done is None:
        done = _execute(run, stage, folder, body)
    sha256 = sha256_file(folder.path / DONE)
    state = documents.StageState(status="done", seconds=done.seconds, peak_mb=done.peak_mb, done=sha256)
    run.update_stage(stage, state)
    return run.result(stage)


def finished(path: Path, key: str) -> documents.Done | None:
    """The stage's DONE if it is there, has this key, and every file it lists is as it was written."""
    if not (path / DONE).is_file():
        return None
    try:
        done = documents.Done.model_validate(read_json(path / DONE))
    except (AuditError, ValueError):
        return None
    intact = all(
        (path / name).is_file() and sha256_file(path / name) == sha for name, sha in done.files.items()
    )
    return done if done.key == key and intact else None


def _execute(run: RunFolder, stage: str, folder: StageFolder, body: Body) -> documents.Done:
    run.forget(stage)
    _clear(folder)
    started = time.monotonic()
    try:
        result = body(folder)
    except AuditError as error:
        with suppress(AuditError):  # a full disk refuses this note too; the first error is the one to show
            run.update_stage(stage, documents.StageState(status="failed", reason=error.problem))
        raise
    write_json(folder.path / RESULT, result.model_dump(mode="json"))
    done = documents.Done(
        key=folder.key,
        files={name: sha256_file(folder.path / name) for name in stage_files(folder.path)},
        seconds=round(time.monotonic() - started, 3),
        peak_mb=peak_mb(),
    )
    write_json(folder.path / DONE, done.model_dump(mode="json"))
    shutil.rmtree(folder.parts, ignore_errors=True)
    return done


def stage_files(path: Path) -> list[str]:
    """Every file of a stage, relative to its folder, but for hidden ones and DONE."""
    found = (p.relative_to(path) for p in path.rglob("*") if p.is_file())
    return sorted(
        p.as_posix() for p in found if p.name != DONE and not any(x.startswith(".") for x in p.parts)
    )


def _clear(folder: StageFolder) -> None:
    """Removes what another key or a killed try left, DONE first; parts of this key stay."""
    with output_errors(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
        (folder.path / DONE).unlink(missing_ok=True)
        for entry in folder.path.iterdir():
            if entry == folder.parts:
                for stale in entry.glob(f".*{TEMPORARY}"):
                    stale.unlink()
            elif entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def peak_mb() -> float | None:
    """Largest resident size of this process so far, in MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    import sys

    scale = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale, 1)
