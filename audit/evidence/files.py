"""Files that are either whole or not there: write to a temporary name, flush, rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import OutputError, RunFolderError

if TYPE_CHECKING:
    import pandas as pd

    from audit.evidence.schema import Table

TEMPORARY = ".partial"
ROW_GROUP = 65_536
"""Rows per group of a Parquet file: what is sorted by its key is found without reading the rest."""


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turns the system's refusals to write `path` into an `OutputError` that says what to do."""
    try:
        yield
    except OSError as error:
        fixes = {
            errno.ENOSPC: "free some space and run the same command again: finished stages are kept",
            errno.EDQUOT: "free some of your quota and run the same command again: finished stages are kept",
            errno.EACCES: "choose a folder that you may write to with --out",
            errno.EPERM: "choose a folder that you may write to with --out",
            errno.EROFS: "this file system is read-only: choose another folder with --out",
            errno.ENOTDIR: "a part of this path is a file: choose another folder with --out",
            errno.EEXIST: "a part of this path is a file: choose another folder with --out",
            errno.ENAMETOOLONG: "choose a shorter name with --out",
        }
        fix = fixes.get(
            error.errno or 0, "mend this, then run the same command again: finished stages are kept"
        )
        problem = f"The output cannot be written: {error.strerror or error}."
        raise OutputError(problem, where=str(error.filename or path), fix=fix) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` that takes its place when the block ends well, else it goes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes text, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON in a file.

    Raises:
        RunFolderError: it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError("A file of the run is missing.", where=str(path), fix=RERUN) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(
            f"A file of the run cannot be read: {error}", where=str(path), fix=RERUN
        ) from error


def write_table(path: Path, table: Table, frame: pd.DataFrame) -> None:
    """Writes a frame as Parquet, after checking it against its schema."""
    import pyarrow.parquet as pq

    checked = table.to_arrow(frame)
    with replacing(path) as temporary:
        pq.write_table(checked, temporary, compression="zstd", row_group_size=ROW_GROUP)


def read_table(path: Path, table: Table) -> pd.DataFrame:
    """A table of a run folder as a frame.

    Raises:
        RunFolderError: the file is missing, broken or has other columns than the schema.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(path)
    except FileNotFoundError as error:
        raise RunFolderError("A table of the run is missing.", where=str(path), fix=RERUN) from error
    except (OSError, pa.ArrowInvalid) as error:
        raise RunFolderError(f"A table of the run is broken: {error}", where=str(path), fix=RERUN) from error
    if not found.schema.equals(table.arrow):
        raise RunFolderError(
            f"The table has other columns than this version's {table.name!r}.",
            where=str(path),
            fix="open it with the version that wrote it (see manifest.json), or run the audit again",
        )
    frame: pd.DataFrame = found.to_pandas()
    return frame


RERUN = "run the command that made the run again: it restores what is missing"
