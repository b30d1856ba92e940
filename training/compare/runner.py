"""Every method x task x rate x seed, one file each, so that a killed comparison goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from training.compare.config import ComparisonConfig
from training.compare.controlled import Trace, run_controlled
from training.compare.methods import TASKS, parse_method, parse_methods, parse_tasks
from training.errors import TrainingError

NEUTRAL = ("methods", "task", "seeds", "learning_rate", "workers")
"""Settings that say which runs there are, not what one run is."""


@dataclass(frozen=True)
class Cell:
    """One run of a comparison."""

    task: str
    method: str
    learning_rate: float
    seed: int

    def path(self, folder: Path) -> Path:
        """Where its trace lies."""
        method = self.method.replace(":", "-")
        return folder / f"{self.task}.{method}.{self.learning_rate:g}.{self.seed}.json"


def cells_of(config: ComparisonConfig) -> list[Cell]:
    """Every run of a comparison, in the order in which they are reported.

    Raises:
        TrainingError: a method or task does not exist, or staleness leaves nothing to compare.
    """
    methods = parse_methods(config.methods, config.staleness, config.advantage)
    return [
        Cell(task.name, method.label, rate, seed)
        for task in parse_tasks(config.task)
        for method in methods
        for rate in config.learning_rate or task.learning_rates
        for seed in range(config.seeds)
    ]


def compare(
    config: ComparisonConfig, folder: Path, *, progress: Callable[[int], object] = lambda done: None
) -> list[Trace]:
    """Runs what is not yet there and returns all traces, in the order of `cells_of`.

    Args:
        config: what is compared.
        folder: of the traces; each appears whole, so a killed comparison goes on.
        progress: called with the number of runs just finished, those found there included.

    Raises:
        TrainingError: as `cells_of`; or the folder holds runs with other settings, or cannot be written.
    """
    cells = cells_of(config)
    _claim(folder, config)
    done = [cell for cell in cells if cell.path(folder).exists()]
    progress(len(done))
    for _ in _work([cell for cell in cells if cell not in set(done)], folder, config):
        progress(1)
    return [_read(cell.path(folder)) for cell in cells]


def _work(cells: Sequence[Cell], folder: Path, config: ComparisonConfig) -> Iterator[None]:
    if config.workers == 1 or len(cells) < 2:
        for cell in cells:
            _run(cell, folder, config)
            yield
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(min(config.workers, len(cells)), context, initializer=_one_thread) as pool:
        futures = [pool.submit(_run, cell, folder, config) for cell in cells]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        except BrokenProcessPool as error:
            raise TrainingError(
                "A worker process ended before its run did.",
                where=f"{config.workers} workers",
                fix="run the same command again with fewer --workers (memory is the usual cause); "
                "finished runs are kept",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run(cell: Cell, folder: Path, config: ComparisonConfig) -> None:
    method = parse_method(cell.method, config.advantage)
    trace = run_controlled(TASKS[cell.task], method, cell.learning_rate, cell.seed, config)
    _write(cell.path(folder), json.dumps(asdict(trace)))


def _one_thread() -> None:
    torch.set_num_threads(1)


def _claim(folder: Path, config: ComparisonConfig) -> None:
    """Writes what the folder's runs have in common, or holds the settings against it."""
    common = {name: value for name, value in asdict(config).items() if name not in NEUTRAL}
    path, wanted = folder / "settings.json", json.dumps(common, indent=2, sort_keys=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write(path, wanted)
        found = path.read_text()
    except OSError as error:
        raise TrainingError(
            f"the comparison cannot be kept: {error}", where=str(folder), fix="choose another folder"
        ) from error
    if found != wanted:
        raise TrainingError(
            "the folder holds runs with other settings", where=str(folder), fix="choose another folder"
        )


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> Trace:
    try:
        return Trace(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(
            f"a run cannot be read: {error}", where=str(path), fix="remove the file and repeat the command"
        ) from error


def digest(config: ComparisonConfig) -> str:
    """Short name of a comparison's settings; the number of workers has no say."""
    values = {name: value for name, value in asdict(config).items() if name not in ("workers", "out")}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
