"""The run folder: opened or created, locked while somebody writes, read by everybody else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from audit.errors import AuditError, OutputError, RunFolderError
from audit.evidence.files import output_errors, read_json, read_table, sha256_file, write_json, write_text
from audit.evidence.schema import TABLES, documents, results

if TYPE_CHECKING:
    import pandas as pd

D = TypeVar("D", bound=documents.Document)
MANIFEST, CONFIG, CLAIMS, LOCK = "manifest.json", "config.toml", "claims.json", ".lock"
SAME_RUN = {
    "kind": "kind",
    "base": "base model",
    "tuned": "tuned model",
    "dtype": "dtype",
    "device": "device",
    "seed": "seed",
    "data": "set of suites",
}
"""Fields of the manifest that must agree for a command to go on with a run that exists, and their names."""


class RunFolder:
    """One run folder on disk; cheap to make, reads on demand."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stage_path(self, stage: str) -> Path:
        """Folder of one stage."""
        return self.path / "stages" / stage

    def manifest(self) -> documents.Manifest:
        """The manifest, checked for its format version."""
        found = read_json(self.path / MANIFEST)
        version = found.get("format") if isinstance(found, dict) else None
        if version != documents.FORMAT:
            raise RunFolderError(
                f"This run has format {version!r}; this version reads format {documents.FORMAT}.",
                where=str(self.path),
                fix=f"open it with the version that made it ({_written_by(found)}), or run the audit again",
            )
        return _validated(documents.Manifest, found, self.path / MANIFEST)

    def claims(self) -> documents.Claims:
        """The ledger of printable sentences."""
        path = self.path / CLAIMS
        return _validated(documents.Claims, read_json(path), path)

    def optional(self, stage: str) -> Any:
        """The result of a stage that may have been skipped; None if it was."""
        state = self.manifest().stages.get(stage)
        return self.result(stage) if state is not None and state.status == "done" else None

    def result(self, stage: str) -> Any:
        """The stage's result, as the model that the schema names for it."""
        path = self.stage_path(stage) / "result.json"
        if stage not in results.RESULTS:
            raise RunFolderError(
                f"This version does not know the stage {stage!r}.",
                where=str(self.path / MANIFEST),
                fix="open the run with the version that made it (see manifest.json)",
            )
        return _validated(results.RESULTS[stage], read_json(path), path)

    def table(self, stage: str, name: str) -> pd.DataFrame:
        """One table of a stage."""
        return read_table(self.stage_path(stage) / f"{name}.parquet", TABLES[name])

    def write_manifest(self, manifest: documents.Manifest) -> None:
        """Replaces the manifest."""
        write_json(self.path / MANIFEST, manifest.model_dump(mode="json"))

    def update_stage(self, stage: str, state: documents.StageState) -> None:
        """Records in the manifest how far a stage came."""
        manifest = self.manifest()
        stages = _in_order({**manifest.stages, stage: state})
        self.write_manifest(manifest.model_copy(update={"stages": stages}))

    def forget(self, stage: str) -> None:
        """Records that the stage is to be done again, and that the claims no longer hold."""
        manifest = self.manifest()
        stages = {**manifest.stages, stage: documents.StageState(status="pending")}
        self.write_manifest(manifest.model_copy(update={"stages": stages, "claims": None}))

    def write_claims(self, claims: documents.Claims) -> None:
        """Writes the ledger, and its hash into the manifest."""
        write_json(self.path / CLAIMS, claims.model_dump(mode="json"))
        self.write_manifest(self.manifest().model_copy(update={"claims": sha256_file(self.path / CLAIMS)}))


def open_run(path: Path) -> RunFolder:
    """An existing run folder, for reading.

    Raises:
        RunFolderError: there is no run there, or it has another format.
    """
    with output_errors(path):
        found = (path / MANIFEST).is_file()
    if not found:
        raise RunFolderError(
            "There is no run in this folder.",
            where=str(path),
            fix="name a folder that `audit compare` or `audit train` wrote (it holds a manifest.json)",
        )
    run = RunFolder(path)
    run.manifest()
    return run


@contextmanager
def writing_run(path: Path, manifest: documents.Manifest, config_toml: str) -> Iterator[RunFolder]:
    """Creates the run, or goes on with the one that the same command left, and locks it meanwhile.

    A folder that this call created goes away again if an error ends the block before any stage was done:
    no half-written run stays behind, and nothing that others put beside it is touched.

    Raises:
        RunFolderError: the folder holds something else, or a run of another pair or another config.
        OutputError: it cannot be written, or another process is writing it.
    """
    run, acquired = RunFolder(path), False
    with output_errors(path):
        if path.exists():
            _refuse_foreign(run, manifest, config_toml)
        made = _make_folders(path)
    try:
        with _locked(path):
            acquired = True
            _refuse_foreign(run, manifest, config_toml)
            created = not (path / MANIFEST).is_file()
            try:
                _begin(run, manifest, config_toml, created)
                yield run
            except AuditError:
                if created and not list(path.glob("stages/*/DONE")):
                    _empty(path)
                raise
    finally:
        if acquired:  # who lost the race for the lock leaves the folder to who won it
            _remove_empty(made)


def _begin(run: RunFolder, manifest: documents.Manifest, config_toml: str, created: bool) -> None:
    if not created:
        old = run.manifest()
        manifest = manifest.model_copy(update={"stages": old.stages, "claims": old.claims})
    write_text(run.path / CONFIG, config_toml)
    run.write_manifest(manifest.model_copy(update={"config": sha256_file(run.path / CONFIG)}))


def _make_folders(path: Path) -> list[Path]:
    """Creates the folder and its parents; returns those that were missing, innermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    return missing


def _empty(path: Path) -> None:
    """Removes everything but the lock, which is still held."""
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


def _remove_empty(folders: list[Path]) -> None:
    """Removes the folders that hold nothing, or only a lock that nobody holds any more; others stay."""
    for folder in folders:
        with suppress(OSError):
            if [entry.name for entry in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
            folder.rmdir()


def _refuse_foreign(run: RunFolder, manifest: documents.Manifest, config_toml: str) -> None:
    if not run.path.is_dir():
        raise OutputError(
            "The output is a file, not a folder.", where=str(run.path), fix="choose another --out"
        )
    if not (run.path / MANIFEST).is_file():
        if _only_leftovers(run.path):
            return
        raise RunFolderError(
            "The output folder exists and holds something that is not a run.",
            where=str(run.path),
            fix="choose another --out; nothing was changed there",
        )
    differing = _differences(run.manifest(), manifest)
    if not differing and (run.path / CONFIG).is_file():
        differing = _config_differences((run.path / CONFIG).read_text(encoding="utf-8"), config_toml)
    if differing:
        raise RunFolderError(
            f"The folder holds a run of another {', '.join(differing)}.",
            where=str(run.path),
            fix="choose another --out, or remove that run first; nothing was changed there",
        )


def _only_leftovers(path: Path) -> bool:
    """Whether a folder is empty but for what a kill before the first manifest leaves."""
    return all(
        entry.name == LOCK or entry.name.endswith(".partial") or entry.name == CONFIG
        for entry in path.iterdir()
    )


def _differences(old: documents.Manifest, new: documents.Manifest) -> list[str]:
    return [
        said
        for name, said in SAME_RUN.items()
        if _essence(getattr(old, name)) != _essence(getattr(new, name))
    ]


def _essence(value: Any) -> Any:
    """A model is what it is by its identity: the same weights may have moved to another folder."""
    return value.identity if isinstance(value, documents.ModelRecord) else value


def _config_differences(old: str, new: str) -> list[str]:
    import tomllib

    try:
        before = tomllib.loads(old)
    except tomllib.TOMLDecodeError:
        return ["config (its config.toml is damaged)"]
    after = tomllib.loads(new)
    names = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
    return [f"config ({', '.join(names)})"] if names else []


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path / LOCK)
    with output_errors(path):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                "Another process is writing this run.",
                where=str(path),
                fix="wait until it ends, or choose another --out",
            ) from error
    try:
        yield
    finally:
        lock.release()


def _validated(model: type[D], found: Any, path: Path) -> D:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise RunFolderError(
            f"The file does not fit this version's format: {first['msg']}.",
            where=f"{path}: {field}",
            fix="open it with the version that wrote it (see manifest.json), or run the audit again",
        ) from error


def _written_by(found: Any) -> str:
    return str(found.get("version", "unknown")) if isinstance(found, dict) else "unknown"


def _in_order(stages: dict[str, documents.StageState]) -> dict[str, documents.StageState]:
    """The stages as a run goes through them."""
    order = list(results.RESULTS)
    return dict(sorted(stages.items(), key=lambda entry: order.index(entry[0])))
