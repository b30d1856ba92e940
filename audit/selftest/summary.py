"""A finished selftest for people (80 columns) and for machines."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import SelftestResult
from audit.selftest.figure import WORDS
from audit.terminal import printable

STAGE = "selftest"
WIDTH = 80
SHORT = {"INCONCLUSIVE": "INCONCL."}


def selftest_summary(run: RunFolder) -> dict[str, Any]:
    """The run as one JSON object; the record's fields stand at its top."""
    result = run.result(STAGE).model_dump(mode="json")
    return {"run": str(run.path), "kind": run.manifest().kind, **result}


def print_selftest(run: RunFolder, console: Console) -> None:
    """The confusion matrix, the rates with their intervals, and what was left out."""
    result: SelftestResult = run.result(STAGE)
    if run.manifest().miniature:
        console.print(Text("MINIATURE: every number in it is invented", style="bold yellow"))
    console.print(_matrix(result), width=WIDTH)
    for line in _lines(result):
        console.print(Text(printable(line)), width=WIDTH)
    for title, kinds in (("Outside of accuracy", result.apart), ("By kind", result.kinds)):
        if kinds:
            console.print(_kinds(title, kinds), width=WIDTH)
    for line in result.invalid:
        console.print(Text(printable(f"left out: {line}"), style="dim"), width=WIDTH)
    console.print(Text(printable(f"{run.path}/stages/{STAGE}/record.png, evidence.json")), soft_wrap=True)


def _matrix(result: SelftestResult) -> Table:
    table = Table(title="Planted truth (rows) against verdict", box=None, pad_edge=False)
    table.add_column("")
    for word in WORDS:
        table.add_column(SHORT.get(word, word), justify="right")
    for truth in (word for word in WORDS if word in result.matrix):
        counts = result.matrix[truth]
        table.add_row(truth, *(str(counts.get(word) or "·") for word in WORDS))
    return table


def _lines(result: SelftestResult) -> list[str]:
    lines = [
        f"right, of {result.decided} decided: {_share(result.accuracy_decided)}",
        f"INCONCLUSIVE: {result.inconclusive:.1%} of {result.n}",
        f"masked or latent called ERASED or UNCHANGED (the worst error): {_share(result.reassured)}",
        f"others called MASKED: {_share(result.alarmed)}",
    ]
    if result.new_to_thresholds is not None:
        lines.append(f"right where kind or architecture was new: {_share(result.new_to_thresholds)}")
    if (found := result.located) is not None:
        precision, recovered, random = map(_number, (found.precision, found.recovered, found.random))
        lines.append(
            f"planted units, {found.n} organisms: recall {found.recall:.2f}, precision {precision}, "
            f"put back R {recovered}, random sets at most {random}"
        )
    fitted = f"{result.fitted_bases} other base(s)" if result.fitted_bases else "nothing here: this version's"
    return [*lines, f"thresholds fitted on {fitted}; intervals 95 %, over {result.bases} base(s)"]


def _kinds(title: str, kinds: dict[str, dict[str, int]]) -> Table:
    table = Table("kind", "verdicts", title=title, box=None, pad_edge=False)
    for kind, counts in kinds.items():
        table.add_row(kind, ", ".join(f"{n} {word}" for word, n in counts.items()))
    return table


def _share(found: Estimate | None) -> str:
    if found is None:
        return "no such organism"
    ends = ["?" if end is None else f"{end:.1%}" for end in (found.low, found.high)]
    return f"{found.value:.1%} [{ends[0]}, {ends[1]}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
