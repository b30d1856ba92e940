"""One run, read for people to look at: results, claims, and SQL over its tables.

A run folder is untrusted. Only regular files that lie inside it are opened, DuckDB is shut off from every
other file, nothing is ever written, and texts longer than `LONGEST_TEXT` arrive cut and say so.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from audit.errors import RunFolderError
from audit.evidence.files import read_json, sha256_file
from audit.evidence.run import CLAIMS, MANIFEST, RunFolder, open_run
from audit.evidence.schema import TABLES, Table, documents, results
from audit.evidence.schema.tables import FLOATS, TEXT, TEXTS
from audit.evidence.stage import DONE

if TYPE_CHECKING:
    import pandas as pd

HOME = {"items": "behaviour"}
"""Whose table has the plain name where several stages write one of the same kind."""
LARGEST_JSON = 64 * 2**20
LARGEST_TABLE = 8 * 2**30
"""Bytes of one file beyond which it is not opened."""
MOST_ROWS = 500_000_000
LONGEST_TEXT, LONGEST_TOKEN, LONGEST_LIST = 4096, 200, 512
MEMORY = "256MB"
"""What DuckDB may use; it may not write to disk, so a query that needs more fails and says so."""
SETTINGS = {
    "memory_limit": MEMORY,
    "threads": "2",
    "temp_directory": "",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
FIX = "run `audit verify` on the folder; the command that made the run restores what is missing or broken"


class Store:
    """One open run: `run`, `manifest`, `claims`, results by stage, tables by SQL."""

    def __init__(self, run: RunFolder, manifest: documents.Manifest) -> None:
        self.run, self.manifest = run, manifest
        self.claims: tuple[documents.Claim, ...] = ()
        self.problems: list[str] = []
        """What is broken, one sentence each; for the health page."""
        self._results: dict[str, documents.Document] = {}
        self._why: dict[str, str] = {}
        self._no_table: dict[str, str] = {}
        self._lock = threading.Lock()
        self._read_results()
        self._read_claims()
        self.tables = self._find_tables()
        """Path of the Parquet file behind each view."""
        self._database = _database(self.tables)

    @property
    def name(self) -> str:
        """The run folder's name."""
        return self.run.path.name

    @property
    def unfinished(self) -> list[str]:
        """Stages still to do: the run is being written, or was stopped."""
        return [s for s, state in self.manifest.stages.items() if state.status in ("pending", "failed")]

    def result(self, stage: str) -> Any:
        """The stage's result, or None; then `why_missing` says why."""
        return self._results.get(stage)

    def why_missing(self, stage: str) -> str:
        """Why a stage has no result, as the end of a sentence that begins with 'not measured:'."""
        return self._why.get(stage, "this kind of run has no such stage, or it was not asked for")

    def has(self, table: str) -> bool:
        """Whether a table can be asked."""
        return table in self.tables

    def why_no_table(self, table: str) -> str:
        """Why a table is not there."""
        return self._no_table.get(table, f"the run has no table {table!r}")

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> pd.DataFrame:
        """The rows of a query over the run's tables; values are bound (`?` or `$name`), never pasted in.

        Raises:
            RunFolderError: a table is missing, broken, or the answer needs more memory than the limit.
        """
        try:
            with self._database.cursor() as cursor:
                return cursor.execute(sql, parameters or None).df()
        except duckdb.OutOfMemoryException as error:
            raise RunFolderError(
                f"A table is too large to be read within {MEMORY}.", where=str(self.run.path), fix=FIX
            ) from error
        except (duckdb.Error, OSError) as error:
            raise RunFolderError(
                f"A table of the run cannot be read: {_first_line(error)}", where=str(self.run.path), fix=FIX
            ) from error

    def frame(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: str = "",
        parameters: Sequence[Any] = (),
        *,
        order: str = "",
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Columns and rows of one table.

        Args:
            table: name of a view; an absent one is a `RunFolderError`.
            columns: which; all without.
            where: condition in SQL with `?` for values; the caller's own words, never a user's.
            parameters: the values.
            order: columns to sort by, in SQL.
            limit: most rows.
        """
        if not self.has(table):
            raise RunFolderError(
                f"{self.why_no_table(table).capitalize()}.", where=str(self.run.path), fix=FIX
            )
        chosen = ", ".join(f'"{name}"' for name in columns) if columns else "*"
        parts = [f'SELECT {chosen} FROM "{table}"']  # noqa: S608  (names of the schema; values are bound)
        parts += [f"WHERE {where}"] if where else []
        parts += [f"ORDER BY {order}"] if order else []
        parts += [f"LIMIT {int(limit)}"] if limit is not None else []
        return self.query(" ".join(parts), parameters)

    def count(self, table: str, where: str = "", parameters: Sequence[Any] = ()) -> int:
        """Rows of a table, or of the part of it where a condition holds."""
        condition = f"WHERE {where}" if where else ""
        sql = f'SELECT count(*) AS n FROM "{table}" {condition}'  # noqa: S608  (the caller's own words)
        return int(self.query(sql, parameters)["n"].iloc[0])

    def file(self, relative: str) -> Path | None:
        """A regular file inside the run folder, or None: for what is no table, such as safetensors."""
        return inside(self.run.path, self.run.path / relative)

    def files(self, stage: str) -> dict[str, str]:
        """SHA-256 of each file of a stage by its name, as the stage's DONE says; empty where it is broken."""
        path = self.run.stage_path(stage) / DONE
        try:
            _check_json(self.run.path, path)
            return documents.Done.model_validate(read_json(path)).files
        except (RunFolderError, ValueError):
            return {}

    def close(self) -> None:
        """Lets go of the files."""
        self._database.close()

    def _read_results(self) -> None:
        for stage, state in self.manifest.stages.items():
            if state.status != "done":
                self._why[stage] = f"stage {stage} was {_status(state)}"
            elif stage not in results.RESULTS:
                self.problems.append(f"this version does not know the stage {stage!r}")
            else:
                self._read_result(stage)

    def _read_result(self, stage: str) -> None:
        try:
            _check_json(self.run.path, self.run.stage_path(stage) / "result.json")
            self._results[stage] = self.run.result(stage)
        except RunFolderError as error:
            self._why[stage] = f"the result of stage {stage} cannot be read: {error.problem}"
            self.problems.append(self._why[stage])

    def _read_claims(self) -> None:
        if self.manifest.claims is None:
            self.problems.append("the run was not finished: it has no claims")
            return
        try:
            _check_json(self.run.path, self.run.path / CLAIMS)
            self.claims = tuple(self.run.claims().claims)
        except RunFolderError as error:
            self.problems.append(f"{CLAIMS} cannot be read: {error.problem}")

    def _find_tables(self) -> dict[str, Path]:
        done = [s for s, state in self.manifest.stages.items() if state.status == "done"]
        found: dict[str, Path] = {}
        for stage in [s for s in done if s in results.RESULTS]:
            for table in TABLES.values():
                path = self.run.stage_path(stage) / f"{table.name}.parquet"
                if path.is_file() or path.is_symlink():
                    self._add_table(found, stage, table, path)
        return found

    def _add_table(self, found: dict[str, Path], stage: str, table: Table, path: Path) -> None:
        plain = HOME.get(table.name, stage) == stage and table.name not in found
        name = table.name if plain else f"{stage}_{table.name}"
        why = table_problem(self.run.path, path, table)
        if why is None:
            found[name] = path.resolve()
        else:
            self._no_table[name] = f"the table {name!r} {why}"
            self.problems.append(self._no_table[name])


def open_store(path: Path) -> Store:
    """Opens a run for looking at; a run that is not finished opens with what it has.

    Raises:
        RunFolderError: there is no run there, it has another format, or its manifest leads elsewhere.
    """
    _check_json(path, path / MANIFEST)
    run = open_run(path)
    return Store(run, run.manifest())


def manifest_hash(path: Path) -> str:
    """SHA-256 of the manifest, which names every other hash: what a cached store is known by."""
    _check_json(path, path / MANIFEST)
    return sha256_file(path / MANIFEST)


def inside(root: Path, path: Path) -> Path | None:
    """The resolved path if it is a regular file inside `root`, links followed; else None."""
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return resolved if resolved.is_file() and resolved.is_relative_to(root.resolve()) else None


def table_problem(root: Path, path: Path, table: Table) -> str | None:
    """Why a Parquet file cannot be used as this table, as the end of a sentence; None if it can."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    resolved = inside(root, path)
    if resolved is None:
        return "is a link that leads out of the run folder, or no file: it is not read"
    if resolved.stat().st_size > LARGEST_TABLE:
        return f"is larger than {LARGEST_TABLE // 2**30} GiB: it is not read"
    try:
        with pq.ParquetFile(resolved) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException, ValueError) as error:
        return f"is broken: {_first_line(error)}"
    if not schema.equals(table.arrow):
        return "has other columns than this version's"
    return f"claims {rows:,} rows: it is not read" if rows > MOST_ROWS else None


def _database(tables: Mapping[str, Path]) -> duckdb.DuckDBPyConnection:
    """A database in memory that sees these files and no others, with one view per table."""
    database = duckdb.connect(":memory:", config=dict(SETTINGS))
    files = ", ".join(_literal(str(path)) for path in tables.values())
    database.execute(f"SET allowed_paths = [{files}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    for name, path in tables.items():
        columns = ", ".join(_column(column.name, column.type) for column in _table_of(name).columns)
        source = _literal(str(path))
        database.execute(f'CREATE VIEW "{name}" AS SELECT {columns} FROM read_parquet({source})')  # noqa: S608
    return database


def _table_of(view: str) -> Table:
    return TABLES[view] if view in TABLES else TABLES[view.split("_", 1)[1]]


def _column(name: str, kind: Any) -> str:
    """The column, cut to lengths that a page can show; nothing in a run may fill the memory."""
    cut = f'"{name}"[1:{LONGEST_LIST}]'
    if kind == TEXT:
        return f'{_cut(chr(34) + name + chr(34), LONGEST_TEXT)} AS "{name}"'
    if kind == TEXTS:
        return f'list_transform({cut}, lambda t: {_cut("t", LONGEST_TOKEN)}) AS "{name}"'
    return f'{cut} AS "{name}"' if kind == FLOATS else f'"{name}"'


def _cut(text: str, most: int) -> str:
    return f"CASE WHEN length({text}) > {most} THEN left({text}, {most}) || ' (cut)' ELSE {text} END"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _check_json(root: Path, path: Path) -> None:
    if not path.is_symlink() and not path.exists():
        return  # the reader says what a missing file means
    found = inside(root, path)
    if found is None:
        raise RunFolderError(
            "A file of the run leads out of the run folder: it is not read.", where=str(path), fix=FIX
        )
    if found.stat().st_size > LARGEST_JSON:
        raise RunFolderError(
            f"A file of the run is larger than {LARGEST_JSON // 2**20} MiB: it is not read.",
            where=str(path),
            fix=FIX,
        )


def _status(state: documents.StageState) -> str:
    said = {"pending": "not finished", "failed": "failed", "skipped": "skipped"}[state.status]
    return f"{said}: {state.reason}" if state.reason else said


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0][:300]
