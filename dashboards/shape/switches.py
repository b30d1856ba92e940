"""Units and interventions with the names that pages show, and the families of interventions."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from audit.evidence.schema.results import BehaviourBypass, BehaviourSwitches, BypassTrial

Family = Literal["internal", "revert", "reading base"]
FAMILIES: dict[Family, str] = {
    "internal": "Changes the tuned model with nothing but itself, or unembedding rows. Held-out R of at "
    "least half, beyond its controls and inside the budgets, supports MASKED.",
    "revert": "Puts weights of the base into the tuned model. It says where a change sits; it does not show "
    "that the tuned model's own wiring is intact, and supports no verdict.",
    "reading base": "Reads activations of the base. It imports knowledge and proves nothing: reported, never "
    "used for a verdict.",
}
"""What each family of interventions may support."""


def with_units(units: pd.DataFrame) -> pd.DataFrame:
    """Adds `unit`, MODULE:INDEX; members of the reported set first, then by weight attribution."""
    frame = units.copy()
    frame["unit"] = frame["module"].astype(str) + ":" + frame["index"].astype(str)
    size = frame["weight_attribution"].abs().fillna(-1.0)
    front = ["unit", "kind", "in_set", "weight_attribution", "write_attribution"]
    order = frame.assign(_size=size).sort_values(["in_set", "_size"], ascending=False, kind="stable").index
    return frame.loc[order, [*front, *(c for c in frame.columns if c not in front)]].reset_index(drop=True)


def with_trials(doses: pd.DataFrame) -> pd.DataFrame:
    """Adds `trial` (intervention and set) and `family` to rows of the table `doses`."""
    frame = doses.copy()
    frame["trial"] = frame["intervention"].astype(str) + " · " + frame["set"].astype(str)
    family = pd.Series("internal", index=frame.index, dtype=object)
    family[frame["imports_base"]] = "revert"
    family[frame["reads_base"]] = "reading base"
    frame["family"] = family
    front = ["trial", "family", "split", "dose", "recovered", "low", "high", "is_null", "chosen"]
    return frame[[*front, *(c for c in frame.columns if c not in front)]]


def trial_of(found: BehaviourBypass, family: Family) -> BypassTrial | None:
    """The trial that the fit half chose in a family."""
    return {"internal": found.internal, "revert": found.revert, "reading base": found.reading_base}[family]


def searches(found: BehaviourSwitches) -> pd.DataFrame:
    """The search among the units of each kind, one row per kind."""
    rows = [kind.model_dump() for kind in found.kinds]
    return pd.DataFrame(rows, columns=["kind", "size", "recovered", "tried"])
