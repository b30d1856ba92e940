"""`audit train compare`: RL methods side by side under equal staleness, seeds and learning rates."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from audit.errors import AuditError
from audit.evidence.files import output_errors, replacing, write_json, write_text
from audit.progress import Progress
from audit.terminal import printable
from training.compare.config import ComparisonConfig
from training.errors import TrainingError

if TYPE_CHECKING:
    from training.compare.controlled import Trace
    from training.compare.summary import Row

RUNS = "runs"
RESULT, TABLE, FIGURE = "comparison.json", "comparison.md", "comparison.png"


@dataclass(frozen=True)
class MethodsConfig(ComparisonConfig):
    """Settings of `audit train compare`.

    Raises:
        TrainingError: a value makes no sense.
    """

    out: str | None = None
    """Folder of runs, table and figure; default runs/methods-NAME, with a NAME made from the settings. The
    same command goes on where a killed one was."""

    def comparison(self) -> ComparisonConfig:
        """The settings that the numbers depend on."""
        return ComparisonConfig(**{f.name: getattr(self, f.name) for f in fields(ComparisonConfig)})


@dataclass(frozen=True)
class Compared:
    """A finished comparison."""

    folder: Path
    config: ComparisonConfig
    rows: Sequence[Row]

    def as_json(self) -> dict[str, Any]:
        """As one JSON object."""
        from training.compare.table import as_json

        return {"folder": str(self.folder), **as_json(self.config, self.rows)}


def run_compare_methods(config: MethodsConfig, progress: Progress) -> Compared:
    """Runs what is missing of a comparison and writes its table, data and figure.

    Raises:
        AuditError: a method or task does not exist, staleness leaves nothing to compare, or the folder is
            another comparison's; nothing half-written stays behind.
    """
    from training.compare.methods import TASKS
    from training.compare.runner import cells_of, compare, digest
    from training.compare.summary import summarise

    plain = config.comparison()
    try:
        cells = cells_of(plain)
        folder = Path(config.out) if config.out else Path("runs") / f"methods-{digest(plain)}"
        with progress.task("Comparing methods", len(cells)) as advance:
            traces = compare(plain, folder / RUNS, progress=advance)
    except TrainingError as error:
        raise AuditError(error.problem, where=error.where, fix=error.fix) from error
    rows = summarise(traces, {name: task.threshold for name, task in TASKS.items()})
    found = Compared(folder, plain, rows)
    _write(found, traces)
    return found


def print_compare_methods(found: Compared, console: Console) -> None:
    """The table, in 80 columns, and what its columns mean."""
    from training.compare.table import LEGEND, text_table

    for line in text_table(found.rows):
        console.print(Text(line), soft_wrap=True)
    console.print()
    console.print(Text(LEGEND, style="dim"))
    console.print(Text(printable(f"table, data and curves: {found.folder}"), style="dim"), soft_wrap=True)


def markdown(found: Compared) -> str:
    """The comparison as a page: its command, its settings, its table."""
    from training.compare.table import LEGEND, markdown_table

    settings = (f"- {name}: {value}" for name, value in asdict(found.config).items() if name != "workers")
    head = ["# Methods compared", "", f"    {command_of(found.config)}", "", *settings, ""]
    return "\n".join([*head, *markdown_table(found.rows), "", LEGEND, ""])


def command_of(config: ComparisonConfig) -> str:
    """The command that repeats a comparison: what differs from the defaults."""
    words = ["audit", "train", "compare"]
    for field in fields(config):
        value, option = getattr(config, field.name), f"--{field.name.replace('_', '-')}"
        if value != field.default:
            for one in value if isinstance(value, tuple) else (value,):
                words += [option, str(one)]
    return shlex.join(words)


def _write(found: Compared, traces: Sequence[Trace]) -> None:
    from training.compare.figure import draw

    write_json(found.folder / RESULT, found.as_json() | {"folder": found.folder.name})
    write_text(found.folder / TABLE, markdown(found))
    with output_errors(found.folder), replacing(found.folder / FIGURE) as path:
        draw(traces, path)
