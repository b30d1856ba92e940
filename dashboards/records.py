"""Documents of a run as tables: claims, stages, settings, the runs beside each other."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd

from audit.errors import AuditError
from audit.evidence.run import CONFIG
from audit.evidence.schema.results import RESULTS, STAGES
from dashboards.store import LARGEST_JSON, Store, open_store

CLAIM = ["id", "statement", "value", "low", "high", "unit", "n", "test", "null", "evidence"]
STAGE = ["stage", "status", "seconds", "peak MB", "why"]
RUN = ["run", "kind", "verdicts", "health", "stages done", "base", "tuned", "created"]


def claims_frame(store: Store) -> pd.DataFrame:
    """One row per claim."""
    rows = [
        {
            **{name: getattr(claim, name) for name in CLAIM[:-1]},
            "value": None if claim.value is None else str(claim.value),
            "evidence": f"{claim.evidence.file}#{claim.evidence.pointer}",
        }
        for claim in store.claims
    ]
    return pd.DataFrame(rows, columns=CLAIM)


def stages_frame(store: Store) -> pd.DataFrame:
    """One row per stage, those that the kind of run could have had and has not included."""
    states = store.manifest.stages
    rows = [
        [name, state.status, state.seconds, state.peak_mb, state.reason or _trouble(store, name)]
        for name, state in states.items()
    ]
    expected = STAGES[store.manifest.kind] if store.manifest.kind != "compare" else _of_compare()
    rows += [[name, "absent", None, None, "not asked for"] for name in expected if name not in states]
    return pd.DataFrame(rows, columns=STAGE)


def _of_compare() -> tuple[str, ...]:
    others = {stage for kind, stages in STAGES.items() if kind != "compare" for stage in stages}
    return tuple(stage for stage in RESULTS if stage not in others)


def _trouble(store: Store, stage: str) -> str:
    done = store.manifest.stages[stage].status == "done"
    return store.why_missing(stage) if done and store.result(stage) is None else ""


def run_row(name: str, store: Store | AuditError) -> dict[str, Any]:
    """One run as a row of the table of runs; one that cannot be opened says why."""
    if isinstance(store, AuditError):
        return {**dict.fromkeys(RUN), "run": name, "health": f"cannot be opened: {store.problem}"}
    manifest, verdict = store.manifest, store.result("verdict")
    done = sum(state.status == "done" for state in manifest.stages.values())
    words = [f"{one.name}: {one.verdict}" for one in verdict.behaviours] if verdict else []
    return {
        "run": name,
        "kind": f"{manifest.kind} (MINIATURE)" if manifest.miniature else manifest.kind,
        "base": manifest.base.reference,
        "tuned": manifest.tuned.reference if manifest.tuned else None,
        "created": manifest.created,
        "stages done": f"{done} of {len(manifest.stages)}",
        "health": health_word(store),
        "verdicts": "; ".join(words) or None,
    }


def health_word(store: Store) -> str:
    """In a few words, what stands in the way of trusting a run."""
    if store.problems and not store.unfinished:
        return f"{len(store.problems)} problem(s)"
    return f"not finished: {', '.join(store.unfinished)}" if store.unfinished else "readable, not verified"


def opened(path: Path) -> Store | AuditError:
    """The run, or why it cannot be opened."""
    try:
        return open_store(path)
    except AuditError as error:
        return error


def settings(store: Store) -> dict[str, str]:
    """Everything a run was set to: config.toml, and what of the manifest decides numbers."""
    manifest = store.manifest
    found = {
        "base": manifest.base.reference,
        "base identity": manifest.base.identity,
        "tuned": manifest.tuned.reference if manifest.tuned else "none",
        "tuned identity": manifest.tuned.identity if manifest.tuned else "none",
        "version": manifest.version,
        "code": manifest.code,
        "dtype": manifest.dtype,
        "device": manifest.device,
        "seed": str(manifest.seed),
    }
    found |= {f"data {name}": sha256 for name, sha256 in manifest.data.items()}
    found |= {f"version of {name}": version for name, version in manifest.versions.items()}
    return found | {f"config {name}": str(value) for name, value in _config(store).items()}


def _config(store: Store) -> dict[str, Any]:
    path = store.file(CONFIG)
    if path is None or path.stat().st_size > LARGEST_JSON:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"(config.toml)": "cannot be read"}
