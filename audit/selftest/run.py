"""`audit selftest`: the main path, from the plan to the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from audit.calibration import Thresholds, load_thresholds
from audit.errors import memory_errors
from audit.evidence.claims import LEDGERS
from audit.evidence.files import output_errors, sha256_json, write_json
from audit.evidence.provenance import versions
from audit.evidence.run import RunFolder, writing_run
from audit.evidence.schema.documents import ModelRecord
from audit.evidence.schema.results import SelftestResult
from audit.evidence.stage import StageFolder, run_stage
from audit.figures import write_figure
from audit.manifests import default_out, new_manifest, to_toml
from audit.pair.cache import cache_root
from audit.progress import Advance, Progress
from audit.selftest.cell import PRESET, Found
from audit.selftest.certainty import certainty_of
from audit.selftest.config import SelftestConfig
from audit.selftest.figure import draw_record
from audit.selftest.fit import fit
from audit.selftest.ladder import draw_ladder
from audit.selftest.plan import Cell, cells_of
from audit.selftest.record import range_of, record_of, sentence
from audit.selftest.rows import Rows, read_rows
from audit.selftest.runner import run_cells
from audit.verdict import decide

STAGE = "selftest"
EVIDENCE, THRESHOLDS = "evidence.json", "thresholds.json"


class Plan(NamedTuple):
    """Everything that a selftest starts from."""

    config: SelftestConfig
    cells: tuple[Cell, ...]
    rows: Rows | None
    """What an earlier selftest found, if nothing is to be audited."""
    organisms: Path
    progress: Progress


def run_selftest(config: SelftestConfig, progress: Progress) -> RunFolder:
    """Audits organisms and returns the run folder that holds the tool's record on them.

    Raises:
        AuditError: something is wrong that the user can mend; nothing half-written stays behind.
    """
    organisms = Path(config.organisms) if config.organisms else cache_root() / "organisms"
    rows = read_rows(Path(config.evidence)) if config.evidence else None
    plan = Plan(config, () if rows else tuple(cells_of(config)), rows, organisms, progress)
    settings = config.resolved()
    path = Path(config.out) if config.out else default_out(settings, "selftest")
    cells = [one.cell for one in rows.organisms] if rows else [cell.name for cell in plan.cells]
    inputs = {**settings, "cells": cells, "thresholds": load_thresholds().numbers, "versions": versions()}
    if rows:
        inputs["rows"] = sha256_json(rows.model_dump(mode="json"))
    manifest = new_manifest(
        "selftest",
        base=_organisms(plan, cells),
        tuned=None,
        dtype="float32",
        device="cpu",
        seed=config.seed,
        data={},
    )
    with writing_run(path, manifest, to_toml(settings)) as run, memory_errors():
        run_stage(run, STAGE, inputs, partial(_run, plan))
        run.write_claims(LEDGERS["selftest"](run))
    return run


def _run(plan: Plan, folder: StageFolder) -> SelftestResult:
    start = load_thresholds()
    rows = plan.rows or _audited(plan, folder, start)
    found = rows.organisms
    fitted = [one for one in found if one.role == "fit"]
    tested = [one for one in found if one.role == "test"]
    thresholds = calibrated(fitted, start) if fitted else start
    result = record_of(tested, fitted, thresholds)
    result = result.model_copy(update={"record": sentence(result), "command": rows.command})
    if fitted:
        thresholds = thresholds.model_copy(update={"range": range_of(found), "record": result})
    with output_errors(folder.path):
        _write(folder, rows, thresholds)
        write_figure(draw_record(result), folder.path, "record")
        write_figure(draw_ladder(found, thresholds), folder.path, "ladder")
    return result


def _audited(plan: Plan, folder: StageFolder, start: Thresholds) -> Rows:
    config = plan.config
    with plan.progress.task("Auditing models whose truth is known", len(plan.cells)) as advance:
        found = run_cells(
            plan.cells, folder.parts, plan.organisms, workers=config.processes, keep=config.keep_runs,
            progress=partial(_tell, plan.progress, advance, start),
        )  # fmt: skip
    return Rows(command=config.command, organisms=tuple(found))


def calibrated(fitted: Sequence[Found], start: Thresholds) -> Thresholds:
    """Thresholds fitted on these organisms, with the certainty of a margin."""
    plain = start.model_copy(update={"fitted": True, "range": None, "certainty": None, "record": None})
    return fit(fitted, plain).model_copy(update={"certainty": certainty_of(fitted, plain)})


def _write(folder: StageFolder, rows: Rows, thresholds: Thresholds) -> None:
    """The table of verdicts, the rows of evidence (from which all can be fitted again), the thresholds."""
    judged = [(one, decide(one.evidence, thresholds)) for one in rows.organisms]
    table = [
        {
            "base": one.base, "architecture": one.architecture, "kind": one.kind, "role": one.role,
            "expected": one.expected, "verdict": verdict.verdict, "detail": verdict.detail,
            "confidence": verdict.confidence, "valid": one.valid, "recall": one.recall,
            "precision": one.precision, "recovered": one.recovered, "random": one.random,
            "seconds_made": one.seconds_made, "seconds_audited": one.seconds_audited,
        }
        for one, verdict in judged
    ]  # fmt: skip
    folder.write_table("organisms", pd.DataFrame(table))
    write_json(folder.path / EVIDENCE, rows.model_dump(mode="json"))
    write_json(folder.path / THRESHOLDS, thresholds.model_dump(mode="json"))


def _tell(progress: Progress, advance: Advance, thresholds: Thresholds, one: Found) -> None:
    advance(1)
    progress.note(_said(one, thresholds))


def _said(one: Found, thresholds: Thresholds) -> str:
    if not one.valid:
        return f"{one.cell}: left out, {one.why_invalid}"
    word = decide(one.evidence, thresholds).verdict
    return f"{one.cell}: {word}, expected {one.expected}"


def _organisms(plan: Plan, names: list[str]) -> ModelRecord:
    """The generated models, in the place of one base: names and seeds stand for their weights."""
    return ModelRecord(
        reference=f"{len(names)} organisms, preset {PRESET}",
        path=str(plan.organisms),
        revision=None,
        identity=sha256_json(names),
        files={},
        adapter=None,
        stored_dtype="float32",
        quantisation=None,
        pickled=False,
        remote_code=False,
    )
