"""Inspect logs of a run's behaviour: one per suite and model, with the same sample ids, so that pairs join.

Needs the extra `inspect` (inspect_ai). A run folder keeps no prompts: the samples say so, and name the suite
by its SHA-256 instead.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import RunFolderError, UsageError
from audit.evidence.files import output_errors, sha256_file
from audit.evidence.run import MANIFEST, RunFolder, open_run
from audit.evidence.schema.documents import Manifest, ModelRecord
from audit.evidence.schema.results import SuiteResult
from audit.evidence.verify import inside, verify_run

if TYPE_CHECKING:
    import pandas as pd
    from inspect_ai.log import EvalLog, EvalResults, EvalSample, EvalSpec

MOST_SAMPLES = 200_000
"""Samples per log: Inspect reads a log's samples as a whole."""
TAGS = ("entity", "group", "category", "split", "template")


@dataclass(frozen=True)
class Source:
    """Where the samples of one log come from."""

    manifest: Manifest
    manifest_sha256: str
    verified: bool
    model: ModelRecord
    side: str
    """base or tuned."""
    suite: SuiteResult


def export_inspect(run: Path, folder: Path) -> list[Path]:
    """Writes the logs of a finished comparison and returns their files.

    Args:
        run: run folder of `audit compare`; it is only read.
        folder: where the logs go; it is made if it is missing, and files in it are replaced.

    Raises:
        UsageError: inspect_ai is not installed, or the run has no behaviour on items.
        RunFolderError: the run cannot be read.
        OutputError: a log cannot be written.
    """
    _require_inspect()
    opened = open_run(run)
    manifest, items = opened.manifest(), _items(opened)
    verified = verify_run(opened).passed
    written = []
    for suite in opened.result("behaviour").suites:
        for side, model in (("base", manifest.base), ("tuned", manifest.tuned)):
            rows = items[(items["suite"] == suite.name) & (items["model"] == side)]
            if model is None or not len(rows):
                continue
            source = Source(manifest, sha256_file(run / MANIFEST), verified, model, side, suite)
            path = folder / f"{file_name(suite.name)}_{side}.eval"
            _write(as_log(source, rows), path)
            written.append(path)
    return written


def _require_inspect() -> None:
    if find_spec("inspect_ai") is None:
        raise UsageError(
            "Inspect logs need the package inspect_ai, which is not installed.",
            fix="install the extra: pip install 'unmask[inspect]'",
        )


def _items(run: RunFolder) -> pd.DataFrame:
    state = run.manifest().stages.get("behaviour")
    if state is None or state.status != "done":
        raise UsageError(
            "The run has no behaviour on items to write.",
            where=str(run.path),
            fix="name a finished run of audit compare",
        )
    if inside(run.path, run.stage_path("behaviour") / "items.parquet") is None:
        raise RunFolderError(
            "A table of the run lies outside its folder.", where=str(run.path), fix="do not trust this folder"
        )
    return run.table("behaviour", "items")


def file_name(suite: str) -> str:
    """A suite's name as part of a file name; other names never share one, and none leads elsewhere."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "-", suite).strip("-")[:60]
    if plain and plain == suite:
        return plain
    return f"{plain or 'suite'}-{hashlib.sha256(suite.encode()).hexdigest()[:8]}"


def as_log(source: Source, rows: pd.DataFrame) -> EvalLog:
    """One log: the items of one suite on one model.

    Args:
        source: where they come from.
        rows: the rows of the table `items` of this suite and model.
    """
    from inspect_ai.log import EvalLog

    if len(rows) > MOST_SAMPLES:
        raise UsageError(
            f"The suite has {len(rows):,} samples; a log holds at most {MOST_SAMPLES:,}.",
            where=file_name(source.suite.name),
            fix="read the table items.parquet instead",
        )
    if rows.duplicated(["template", "item"]).any():
        raise RunFolderError(
            "An item stands twice in the table items.",
            where=file_name(source.suite.name),
            fix="check the run: audit verify RUN",
        )
    samples = [_sample(source, row) for row in rows.sort_values(["template", "item"]).to_dict("records")]
    return EvalLog(
        status="success",
        eval=_spec(source, [sample.id for sample in samples]),
        results=_results(source, rows),
        samples=samples,
    )


def _spec(source: Source, ids: list[int | str]) -> EvalSpec:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalSpec

    manifest, suite = source.manifest, source.suite
    return EvalSpec(
        created=manifest.created,
        eval_id=_id(source, "eval"),
        run_id=_id(source, "run"),
        task_id=_id(source, "task"),
        task=suite.name,
        task_display_name=suite.title,
        dataset=EvalDataset(name=suite.name, samples=len(ids), sample_ids=[str(one) for one in ids]),
        model=f"unmask/{source.side}",
        config=EvalConfig(),
        packages=manifest.versions,
        tags=["MINIATURE: invented numbers"] if manifest.miniature else None,
        metadata={
            "reference": source.model.reference,
            "identity_sha256": source.model.identity,
            "manifest_sha256": source.manifest_sha256,
            "verified": source.verified,
            "miniature": manifest.miniature,
            "suite_sha256": suite.sha256,
            "unit": suite.unit,
            "dtype": manifest.dtype,
            "seed": manifest.seed,
        },
    )


def _id(source: Source, what: str) -> str:
    """The same log has the same ids whenever it is written; the models of a suite share their task."""
    parts = [what, source.manifest_sha256]
    parts += [] if what == "run" else [source.suite.name]
    parts += [] if what in ("run", "task") else [source.side]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:22]


def _sample(source: Source, row: Mapping[Any, Any]) -> EvalSample:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput
    from inspect_ai.scorer import Score

    name = f"{row['template']}/{row['item']}"
    answer = row["answer"] if isinstance(row["answer"], str) else None
    scores = {"m": Score(value=float(row["m"]), answer=answer, metadata=_logps(row))}
    if row["parsed"] is not None and row["parsed"] == row["parsed"]:
        scores["parsed"] = Score(value=bool(row["parsed"]), answer=answer)
    written = ChatMessageAssistant(id=_id(source, f"answer\0{name}"), content=answer or "")
    said = f"Item {row['item']} of the suite {source.suite.name}, {row['template']} form. "
    kept = f"A run folder keeps no prompts: see the suite (SHA-256 {source.suite.sha256})."
    return EvalSample(
        id=name,
        epoch=1,
        input=said + kept,
        target="",
        output=ModelOutput(model=f"unmask/{source.side}", choices=[ChatCompletionChoice(message=written)]),
        scores=scores,
        metadata={tag: row[tag] for tag in TAGS if isinstance(row[tag], str)},
        uuid=_id(source, f"sample\0{name}"),
    )


def _logps(row: Mapping[Any, Any]) -> dict[str, float]:
    return {name: float(row[name]) for name in ("showing_logp", "not_showing_logp")}


def _results(source: Source, rows: pd.DataFrame) -> EvalResults:
    """The mean of m, and the suite's effect in each form on held-out entities with its interval."""
    from inspect_ai.log import EvalMetric, EvalResults, EvalScore

    metrics = {"mean": EvalMetric(name="mean", value=float(rows["m"].mean()))}
    for found in source.suite.templates:
        if found.split == "test":
            effect = found.base if source.side == "base" else found.tuned
            name = f"effect ({found.template})"
            interval = {"low": effect.low, "high": effect.high, "n": effect.n, "unit": source.suite.unit}
            metrics[name] = EvalMetric(name=name, value=effect.value, metadata=interval)
    score = EvalScore(name="m", scorer="m", scored_samples=len(rows), metrics=metrics)
    return EvalResults(total_samples=len(rows), completed_samples=len(rows), scores=[score])


def _write(log: EvalLog, path: Path) -> None:
    """Writes one log, whole or not at all."""
    from inspect_ai.log import write_eval_log

    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
        try:
            write_eval_log(log, str(temporary), format="eval")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
