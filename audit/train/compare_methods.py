"""`audit train compare`: RL methods side by side under equal staleness, seeds and learning rates."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from audit.errors import AuditError
from audit.evidence.files import output_errors, replacing, write_json, write_text
from audit.progress import Progress
from audit.terminal import printable
from training.compare.config import ComparisonConfig
from training.errors import TrainingError

RUNS = "runs"
RESULT, TABLE, FIGURE = "comparison.json", "comparison.md", "comparison.png"


@dataclass(frozen=True)
class MethodsConfig(ComparisonConfig):
    """Settings of `audit train compare`.

    Raises:
        TrainingError: a value makes no sense.
    """

    base: str | None = None
    """Instead of the small tasks: a model (hub id, folder, .gguf file, or 'demo' for the embedded base)."""
    suite: str = "gender-occupation"
    """With --base: suite whose training half gives the prompts and the reward."""
    reward: Literal["auto", "pronoun-parity", "suite-parity"] = "auto"
    """With --base: which evenness is rewarded, as in audit train."""
    new_tokens: int = 1
    """With --base: tokens per rollout."""
    out: str | None = None
    """Folder of runs, table and figure; default runs/methods-NAME, with a NAME made from the settings. The
    same command goes on where a killed one was."""

    def comparison(self) -> ComparisonConfig:
        """The settings of the comparison alone."""
        return ComparisonConfig(**{f.name: getattr(self, f.name) for f in fields(ComparisonConfig)})


@dataclass(frozen=True)
class Compared:
    """A finished comparison."""

    folder: Path
    data: dict[str, Any]
    """Settings and rows."""
    lines: list[str]
    """The table, in 80 columns."""
    page: list[str]
    """The table, as Markdown."""
    legend: str
    """What its columns mean."""

    def as_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {"folder": str(self.folder), **self.data}


def run_compare_methods(config: MethodsConfig, progress: Progress) -> Compared:
    """Runs what is missing of a comparison and writes its table, data and, for small tasks, learning curves.

    Raises:
        AuditError: a method or task does not exist, staleness leaves nothing to compare, or the folder is
            another comparison's; nothing half-written stays behind.
    """
    from training.compare.runner import digest

    folder = Path(config.out) if config.out else Path("runs") / f"methods-{digest(config)}"
    try:
        found = (_on_tasks if config.base is None else _on_model)(config, folder, progress)
    except TrainingError as error:
        raise AuditError(error.problem, where=error.where, fix=error.fix) from error
    write_json(folder / RESULT, found.data)
    write_text(folder / TABLE, markdown_page(found, config))
    return found


def print_compare_methods(found: Compared, console: Console) -> None:
    """The table, in 80 columns, and what its columns mean."""
    for line in found.lines:
        console.print(Text(printable(line)), soft_wrap=True)
    console.print()
    console.print(Text(found.legend, style="dim"))
    console.print(Text(printable(f"table and data: {found.folder}"), style="dim"), soft_wrap=True)


def markdown_page(found: Compared, config: MethodsConfig) -> str:
    """The comparison as a page: its command, its settings, its table."""
    settings = (f"- {name}: {value}" for name, value in found.data["settings"].items() if name != "workers")
    head = ["# Methods compared", "", f"    {command_of(config)}", "", *settings, ""]
    return "\n".join([*head, *found.page, "", found.legend, ""])


def command_of(config: MethodsConfig) -> str:
    """The command that repeats a comparison: what differs from the defaults."""
    words = ["audit", "train", "compare"]
    for field in fields(config):
        value, option = getattr(config, field.name), f"--{field.name.replace('_', '-')}"
        if value != field.default and field.name != "out":
            for one in value if isinstance(value, tuple) else (value,):
                words += [option, str(one)]
    return shlex.join(words)


def _on_tasks(config: MethodsConfig, folder: Path, progress: Progress) -> Compared:
    from training.compare import table
    from training.compare.figure import draw
    from training.compare.methods import TASKS
    from training.compare.runner import cells_of, compare
    from training.compare.summary import summarise

    plain = config.comparison()
    with progress.task("Comparing methods", len(cells_of(plain))) as advance:
        traces = compare(plain, folder / RUNS, progress=advance)
    with output_errors(folder), replacing(folder / FIGURE) as path:
        draw(traces, path)
    rows = summarise(traces, {name: task.threshold for name, task in TASKS.items()})
    data = table.as_json(plain, rows)
    return Compared(folder, data, table.text_table(rows), table.markdown_table(rows), table.LEGEND)


def _on_model(config: MethodsConfig, folder: Path, progress: Progress) -> Compared:
    from audit.train.compare_models import HEADS, LEGEND, Asked, cells, compare_models
    from training.compare.table import aligned, markdown

    asked = Asked(str(config.base), config.suite, config.reward, config.new_tokens)
    plain = config.comparison()
    rows = compare_models(asked, plain, folder / RUNS, progress)
    table = [HEADS, *map(cells, rows)]
    data = {"model": asdict(asked), "settings": asdict(plain), "rows": [asdict(row) for row in rows]}
    return Compared(folder, data, [asked.base, *aligned(table)], markdown(table), LEGEND)
