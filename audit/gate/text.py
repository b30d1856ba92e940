"""The outcome for people, at 80 columns."""

from __future__ import annotations

from itertools import groupby

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from audit.gate.outcome import GateResult, Outcome, Status
from audit.gate.words import clean, interval, number

STYLES: dict[Status, str] = {"pass": "green", "violated": "bold red", "inconclusive": "yellow"}
WORDS: dict[Status, str] = {"pass": "PASS", "violated": "VIOLATED", "inconclusive": "INCONCLUSIVE"}
MARKS: dict[Status, str] = {"pass": "pass", "violated": "VIOLATED", "inconclusive": "undecided"}
ROOM = 68
"""Columns beside the marks: what is longer stands on two lines."""
LIMITS = "A pass says that this run meets this policy, not that the model is safe: see docs/gate.md."


def print_gate(result: GateResult, console: Console) -> None:
    """What was held against what, every outcome, and the word at the end."""
    console.print(_head(result))
    console.print()
    console.print(_outcomes(result))
    console.print()
    console.print(_closing(result))
    console.print(Text(LIMITS, style="dim"))


def _head(result: GateResult) -> Table:
    grid = Table.grid(padding=(0, 2))
    if result.miniature:
        warning = Text("MINIATURE: every number in it is invented", style="bold yellow")
        grid.add_row(Text(), warning)
    rows = {
        "policy": f"{clean(result.title)} ({clean(result.policy)})",
        "SHA-256": result.policy_sha256,
        "run": f"{clean(result.run)} ({result.kind}, {result.created})",
        "manifest": result.manifest_sha256,
        "base": result.base.reference,
        "tuned": result.tuned.reference if result.tuned else "-",
    }
    for name, said in rows.items():
        style = "dim" if name in ("SHA-256", "manifest") else ""
        grid.add_row(Text(name, style=style), Text(said, style=style, overflow="fold"))
    return grid


def _outcomes(result: GateResult) -> Group:
    parts: list[Text | Table] = []
    for rule, outcomes in groupby(result.outcomes, key=lambda outcome: outcome.rule):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(min_width=max(map(len, MARKS.values())), no_wrap=True)
        grid.add_column(overflow="fold")
        for outcome in outcomes:
            grid.add_row(Text(MARKS[outcome.status], style=STYLES[outcome.status]), _line(outcome))
        parts += [Text(rule, style="bold"), grid]
    return Group(*parts)


def _line(outcome: Outcome) -> Text:
    n = "" if outcome.n is None else f", n = {outcome.n:,}"
    seen = f"{number(outcome.observed)}{interval(outcome.low, outcome.high)}{n}"
    subject, wanted = outcome.subject, f"{seen}; wanted: {outcome.threshold}"
    gap = " " if len(subject) + len(wanted) < ROOM else "\n"
    text = Text(f"{subject}:{gap}{wanted}")
    if outcome.reason:
        text.append(f"\n{outcome.reason}", style="dim")
    return text


def _closing(result: GateResult) -> Text:
    counts = [f"{len(result.of(status))} {status}" for status in MARKS]
    text = Text(WORDS[result.status], style=STYLES[result.status])
    text.append(f"  {', '.join(counts)}; exit code {result.exit_code}", style="default not bold")
    if result.status == "pass" and result.of("inconclusive"):
        text.append("\nthe policy lets through what could not be decided", style="yellow")
    return text
