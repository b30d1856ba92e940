"""The rows of a comparison as text of 80 columns, as Markdown and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from training.compare.config import ComparisonConfig
from training.compare.summary import COLLAPSE, Interval, Row

HEADS = ("method", "rate", "reward [95 %]", "reach", "steps", "coll", "noise", "TV", "thinks", "cut")
"""Columns of the table."""
LEGEND = (
    "reward: exact, last tenth of the batches, mean over seeds [95 % bootstrap]; reach: seeds that reached "
    "the threshold; steps: median updates to it; coll: seeds that collapsed; noise: variance of a stale "
    "batch's gradient over its squared norm; TV: exact total variation of whole completions across a batch's "
    "updates; thinks: what the method took it for, in its own unit (docs/methods.md); cut: tokens without "
    "gradient + those whose weight is off their ratio by more than a tenth. Collapse: " + COLLAPSE + "."
)
"""What the columns mean."""


def cells(row: Row) -> tuple[str, ...]:
    """A row as the texts of `HEADS`."""
    return (
        row.method,
        f"{row.learning_rate:g}",
        _interval(row.reward),
        f"{row.reached}/{row.seeds}",
        "-" if row.steps is None else f"{row.steps:.0f}",
        f"{row.fell + row.stuck}/{row.seeds}",
        _short(row.relative_variance.value),
        _short(row.tv.value),
        "-" if row.believed is None else _short(row.believed.value),
        _shares(row),
    )


def text_table(rows: Sequence[Row]) -> list[str]:
    """Lines of at most 80 columns, task by task."""
    lines: list[str] = []
    for task in dict.fromkeys(row.task for row in rows):
        table = [HEADS, *(cells(row) for row in rows if row.task == task)]
        lines += ["", task, *aligned(table)]
    return lines[1:]


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [_line(line, widths) for line in table]


def markdown_table(rows: Sequence[Row]) -> list[str]:
    """One Markdown table per task."""
    lines: list[str] = []
    for task in dict.fromkeys(row.task for row in rows):
        lines += [
            "",
            f"### {task}",
            "",
            *markdown([HEADS, *(cells(row) for row in rows if row.task == task)]),
        ]
    return lines[1:]


def markdown(table: Sequence[Sequence[str]]) -> list[str]:
    """A table whose first line is its head, as Markdown."""
    head, *body = table
    return [_markdown(line) for line in (head, ["---"] * len(head), *body)]


def as_json(config: ComparisonConfig, rows: Sequence[Row]) -> dict[str, Any]:
    """The whole comparison as data, shares by position and intervals included."""
    return {
        "settings": asdict(config),
        "collapse": COLLAPSE,
        "rows": [_rounded({**asdict(row), "collapsed": row.collapsed}) for row in rows],
    }


def _rounded(value: Any) -> Any:
    """Numbers to five digits: more would be noise."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _line(line: Sequence[str], widths: Sequence[int]) -> str:
    first, rest = line[0].ljust(widths[0]), zip(line[1:], widths[1:], strict=True)
    return " ".join([first, *(text.rjust(width) for text, width in rest)])


def _markdown(line: Sequence[str]) -> str:
    return "| " + " | ".join(line) + " |"


def _interval(found: Interval) -> str:
    return f"{_short(found.value)} [{_short(found.low)}, {_short(found.high)}]"


def _short(value: float) -> str:
    """Three digits at most, without the zero before the point."""
    if value != 0 and abs(value) < 0.0095:
        return f"{value:.0e}".replace("e-0", "e-")
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
    return text[1:] if text.startswith("0.") else text


def _shares(row: Row) -> str:
    cut, soft = (sum(shares) / len(shares) for shares in (row.cut, row.attenuated))
    return f"{100 * cut:.0f}" + (f"+{100 * soft:.0f}" if soft >= 0.005 else "") + "%"
