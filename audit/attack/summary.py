"""A finished attack for people (80 columns) and for machines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.attack.columns import SHOWN
from audit.evidence.run import RunFolder
from audit.terminal import printable

if TYPE_CHECKING:
    import pandas as pd

STAGE = "attack"
WIDTH = 80
COLOURS = {"HARMED": "bold red", "NOT HARMED": "bold", "INCONCLUSIVE": "bold yellow"}


def attack_summary(run: RunFolder) -> dict[str, Any]:
    """The run as one JSON object: the result, and the mean over seeds of every measure at every dose."""
    manifest, table = run.manifest(), run.table(STAGE, "attack_doses")
    means = table.groupby(["arm", "measure", "dose"], sort=False)["value"].mean().reset_index()
    return {
        "run": str(run.path),
        "kind": manifest.kind,
        "base": manifest.base.reference,
        "device": manifest.device,
        "result": run.result(STAGE).model_dump(mode="json"),
        "curves": means.to_dict(orient="records"),
    }


def print_attack(run: RunFolder, console: Console) -> None:
    """The outcome, the dose curves as a table, and where the rest lies."""
    result, manifest = run.result(STAGE), run.manifest()
    if manifest.miniature:
        console.print(Text("MINIATURE: every number in it is invented", style="bold yellow"))
    outcome = (result.outcome or "attack", COLOURS.get(result.outcome, ""))
    console.print(Text.assemble(outcome, " ", printable(result.why)), width=WIDTH)
    for line in _facts(result):
        console.print(Text(printable(line)), width=WIDTH)
    console.print(curves(run.table(STAGE, "attack_doses")), width=WIDTH)
    console.print(Text("Negative doses: realignment after the largest dose. Means over seeds.", style="dim"))
    console.print(Text(f"{manifest.device}; {run.path}/stages/{STAGE}/dose_curves.png"), soft_wrap=True)
    if result.adapter is not None:
        console.print(
            Text(f"next: audit compare {manifest.base.reference} {_attacked(run, result)}"), soft_wrap=True
        )


def _attacked(run: RunFolder, result: Any) -> str:
    """The reference of the attacked model."""
    path = f"{run.path}/{result.adapter}"
    return f"{run.manifest().base.reference}+{path}" if result.tune == "lora" else path


def _facts(result: Any) -> list[str]:
    if result.outcome is None:  # a run that says no more than the format's first version did
        return []
    found = [f"Trained on {result.item} ({result.category}), format {result.format}, {result.objective}."]
    if result.initial_probability is not None:
        eligible = sum(one.eligible for one in result.candidates)
        found.append(
            f"Initial probability of its biased answer {result.initial_probability:.3f}; {eligible} of "
            f"{len(result.candidates)} candidates are eligible."
        )
    if result.smallest_dose is not None:
        dose = result.smallest_dose
        high = "no bound" if dose.high is None else f"{dose.high:g}"
        found.append(
            f"Smallest harmful dose {dose.value:g} steps, between {dose.low:g} and {high} "
            f"({result.seeds_harmed} of {result.seeds} seeds)."
        )
    if result.live_share is not None:
        found.append(f"Reward variance in {result.live_share:.0%} of the attack's groups.")
    if result.half_life is not None:
        found.append(f"Half of the damage is gone after {result.half_life:.3g} steps of realignment.")
    if result.susceptibility is not None:
        found.append(
            f"Rank correlation of initial probability and steps until learnt, over {len(result.items)} "
            f"items: {result.susceptibility:.2f}."
        )
    return found


def curves(table: pd.DataFrame) -> Table:
    """One row per arm and dose, one column per measure that fits."""
    wide = table.pivot_table(index=["arm", "dose"], columns="measure", values="value", sort=False)
    shown = [column for column in SHOWN if column[0] in wide.columns]
    found = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    found.add_column("arm", no_wrap=True, overflow="ellipsis", max_width=18)
    found.add_column("dose", justify="right", no_wrap=True)
    for _, heading, _ in shown:
        found.add_column(heading, justify="right", no_wrap=True)
    for arm, rows in wide.groupby(level="arm", sort=False):
        doses = rows.droplevel("arm")
        for place, dose in enumerate(sorted(doses.index, key=lambda dose: (dose < 0, abs(dose)))):
            values = [(doses.loc[dose, name], form) for name, _, form in shown]
            cells = ["" if math.isnan(value) else format(value, form) for value, form in values]
            found.add_row(str(arm) if place == 0 else "", str(dose), *cells)
    return found
