"""A row of evidence as a flat mapping of numbers: what thresholds are fitted on."""

from __future__ import annotations

from audit.evidence.schema.results import LadderEvidence

Cell = float | int | bool | str | None
WORDS = ("seen", "known_where", "unread", "relearn_weaker")
WAY = ("recovered", "low", "high", "control", "units", "kl", "skills", "counts")
DOSE = ("recovered", "low", "high", "recovered_fit", "control")


def row_of(evidence: LadderEvidence) -> dict[str, Cell]:
    """Every number of the evidence, by name: `gates_recovered`, `relearn_20_control` and so on.

    Ways and doses that were not tried have no cells.
    """
    nested = {"ways", "relearned", *WORDS}
    row: dict[str, Cell] = evidence.model_dump(exclude=nested)
    for name, way in evidence.ways.items():
        row |= {f"{name}_{field}": getattr(way, field) for field in WAY}
    for dose in evidence.relearned:
        row |= {f"relearn_{dose.steps}_{field}": getattr(dose, field) for field in DOSE}
    return row
