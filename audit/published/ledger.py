"""One claim of published work as a run bears it out, and how a list of them is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.evidence.schema.documents import Document, Estimate
from audit.terminal import printable

Outcome = Literal["reproduced", "not reproduced", "not measurable"]
COLOUR: dict[Outcome, str] = {"reproduced": "green", "not reproduced": "yellow", "not measurable": "dim"}


class PublishedClaim(Document):
    """One claim of a paper, and what a run says of it."""

    id: str
    source: str
    claim: str
    criterion: str
    measured: str
    """The numbers, or why there are none."""
    outcome: Outcome
    evidence: list[str]
    """Places in the run folder: FILE#/JSON/POINTER."""


def side(estimate: Estimate, *, low: float, high: float = float("inf")) -> Outcome:
    """Whether the interval lies inside [low, high], outside it, or partly: then it is too wide to tell."""
    bottom = -float("inf") if estimate.low is None else estimate.low
    top = float("inf") if estimate.high is None else estimate.high
    if low <= bottom and top <= high:
        return "reproduced"
    return "not reproduced" if top < low or bottom > high else "not measurable"


def all_of(parts: set[Outcome]) -> Outcome:
    """The outcome of a claim whose every part must hold."""
    if "not reproduced" in parts:
        return "not reproduced"
    return "not measurable" if "not measurable" in parts else "reproduced"


def print_claims(claims: Sequence[PublishedClaim], console: Console) -> None:
    """The claims for people: what was claimed, the criterion, what the run measured; the sources below."""
    for claim in claims:
        console.print(Text(printable(claim.claim), style="bold"))
        grid = Table.grid(padding=(0, 2))
        grid.add_row(Text("  outcome", style="dim"), Text(claim.outcome, style=COLOUR[claim.outcome]))
        grid.add_row(Text("  criterion", style="dim"), Text(printable(claim.criterion)))
        grid.add_row(Text("  measured", style="dim"), Text(printable(claim.measured)))
        console.print(grid)
        console.print()
    for source in dict.fromkeys(claim.source for claim in claims):
        console.print(Text(f"source: {source}", style="dim"))
    console.print(Text("The criteria were fixed before any run was read.", style="dim"))
