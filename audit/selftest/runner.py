"""Every organism of a selftest, one file each, so that a killed selftest goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

from pydantic import ValidationError

from audit.errors import AuditError, RunFolderError, UsageError
from audit.evidence.files import read_json
from audit.selftest.cell import Found, run_cell
from audit.selftest.plan import Cell


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    organisms: Path,
    *,
    workers: int,
    keep: bool = False,
    progress: Callable[[Found], object] = lambda found: None,
) -> list[Found]:
    """Audits what is not yet there and returns all, in the order of the cells.

    Args:
        cells: which organisms.
        folder: of the finished ones' files and of the audits under way.
        organisms: where organisms lie.
        workers: processes that share the work.
        keep: whether the audits' run folders stay.
        progress: called with each, those found there first.

    Raises:
        AuditError: an audit failed, or a worker was killed. An audit that fails stops none of those that
            other workers do; what is finished is kept.
    """
    done = {cell: found for cell in cells if (found := _read(path_of(cell, folder))) is not None}
    for found in done.values():
        progress(found)
    missing = [cell for cell in cells if cell not in done]
    for cell, found in _work(missing, folder, organisms, workers, keep):
        done[cell] = found
        progress(found)
    return [done[cell] for cell in cells]


def path_of(cell: Cell, folder: Path) -> Path:
    """Where what one organism's audit found lies."""
    return folder / "found" / f"{cell.name}.json"


def _read(path: Path) -> Found | None:
    """What an earlier try found; None where there is none, or it is damaged and made again."""
    with suppress(RunFolderError, ValidationError):
        if path.is_file():
            return Found.model_validate(read_json(path))
    return None


def _work(
    cells: Sequence[Cell], folder: Path, organisms: Path, workers: int, keep: bool
) -> Iterator[tuple[Cell, Found]]:
    if workers == 1 or len(cells) < 2:
        for cell in cells:
            yield cell, _one(cell, folder, organisms, keep)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(cells)), context) as pool:
        try:
            futures = {pool.submit(_one, cell, folder, organisms, keep): cell for cell in cells}
            failed: list[BaseException] = []
            for future in as_completed(futures):
                error = future.exception()
                if error is None:
                    yield futures[future], future.result()
                elif isinstance(error, BrokenProcessPool):
                    raise error
                else:
                    error.add_note(f"while {futures[future].name} was made and audited")
                    failed.append(error)
            if failed:
                raise failed[0]
        except BrokenProcessPool as error:
            raise UsageError(
                "A worker process ended before its audit did.",
                where=f"{workers} workers",
                fix="run the same command again with fewer --workers (memory is the usual cause); finished "
                "organisms are kept",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _one(cell: Cell, folder: Path, organisms: Path, keep: bool) -> Found:
    try:
        return run_cell(cell, organisms, folder / "runs", path_of(cell, folder), keep=keep)
    except AuditError as error:
        raise AuditError(error.problem, where=f"{cell.name}: {error.where}", fix=error.fix) from error
