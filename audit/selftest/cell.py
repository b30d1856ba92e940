"""One organism: made, audited as `audit compare` audits any pair, and reduced to its row of evidence."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from audit.evidence.files import write_json
from audit.evidence.schema.results import LadderEvidence
from audit.organisms import make, pair_of, world_of
from audit.organisms.export import write_suite
from audit.organisms.manifest import BASE, Organism, Verdict
from audit.selftest.plan import Cell, Role

PRESET = "standard"
"""The effort whose verdicts the record speaks of."""
SKIPPED = ("features",)
"""Stages that no verdict reads."""


class Found(BaseModel):
    """What the audit of one organism found: all that thresholds and record are made from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cell: str
    role: Role
    base: str
    """Cluster of the bootstrap: children of one base share it."""
    architecture: str
    layers: int
    kind: str
    expected: Verdict
    valid: bool
    """Whether the organism does what its construction says; else it counts nowhere."""
    why_invalid: str | None
    evidence: LadderEvidence
    recall: float | None = None
    """Planted units in the reported set; None where none were planted."""
    precision: float | None = None
    recovered: float | None = None
    """R of the reported set, put back, on held-out entities."""
    random: float | None = None
    """Largest R of random sets matched with it."""
    seconds_made: float = 0.0
    seconds_audited: float = 0.0


def run_cell(cell: Cell, organisms: Path, scratch: Path, target: Path, *, keep: bool) -> Found:
    """Audits one organism and writes what it found.

    Args:
        cell: which.
        organisms: where organisms lie; missing ones are made there.
        scratch: for the run folder; a killed audit goes on there.
        target: the JSON file of `Found`, which appears whole.
        keep: whether the run folder stays.

    Raises:
        AuditError: the audit cannot be made or written.
    """
    import torch

    from audit.pipeline import compare
    from audit.verdict import evidence_of

    torch.set_num_threads(1)
    clock = time.monotonic()
    make(BASE, organisms, cell.seed, shape=cell.shape)
    pair = pair_of(cell.kind, organisms, cell.seed, shape=cell.shape)
    made = time.monotonic() - clock
    suite = world_of(pair.truth).suite()
    path = write_suite(suite, scratch / "suites" / f"{cell.name}.jsonl")
    run = compare(
        pair.base, pair.tuned, suite=(str(path),), preset=PRESET, skip=SKIPPED, seed=cell.seed,
        out=str(scratch / cell.name),
    )  # fmt: skip
    found = Found(
        cell=cell.name,
        role=cell.role,
        base=f"{cell.shape.architecture}{cell.shape.layers}-{cell.seed}",
        architecture=cell.shape.architecture,
        layers=cell.shape.layers,
        kind=cell.kind,
        expected=pair.truth.verdict,
        valid=pair.truth.valid,
        why_invalid=pair.truth.why_invalid,
        evidence=next(row for row in evidence_of(run) if row.name == suite.card.name),
        **_located(run, pair.truth),
        seconds_made=round(made, 2),
        seconds_audited=round(time.monotonic() - clock - made, 2),
    )
    write_json(target, found.model_dump(mode="json"))
    if not keep:
        shutil.rmtree(run.path)
    return found


def _located(run: Any, truth: Organism) -> dict[str, float | None]:
    """How well the planted units were found, where some were planted."""
    from audit.organisms.score import score

    if not truth.units or run.optional("switches") is None:
        return {}
    found = score(run, truth)
    return {
        "recall": found.recall,
        "precision": found.precision,
        "recovered": found.recovered,
        "random": found.random_max,
    }
