"""Runs with planted evidence: a miniature, changed and sealed again so that it verifies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pytest

from audit.evidence.claims import LEDGERS
from audit.evidence.files import read_json, sha256_file, write_json, write_table
from audit.evidence.run import RunFolder
from audit.evidence.schema import TABLES, documents
from audit.evidence.stage import stage_files
from audit.gate.config import GateConfig
from audit.gate.outcome import GateResult
from audit.gate.run import run_gate

MINIATURES = Path(__file__).resolve().parents[2] / "data" / "runs"
NOW = datetime(2026, 1, 11, tzinfo=UTC)
"""Ten days after the miniatures were made."""


@dataclass(frozen=True)
class Planted:
    """A run folder whose evidence tests choose."""

    path: Path

    def result(self, stage: str, change: Callable[[dict[str, Any]], None]) -> Self:
        """Changes a stage's result in place."""
        path = self.path / "stages" / stage / "result.json"
        document = read_json(path)
        change(document)
        write_json(path, document)
        return self

    def table(self, stage: str, name: str, frame: pd.DataFrame) -> Self:
        """Replaces a stage's table."""
        write_table(self.path / "stages" / stage / f"{name}.parquet", TABLES[name], frame)
        return self

    def stage(self, name: str, status: str, reason: str | None = None) -> Self:
        """Takes a stage away, and says why in the manifest."""
        shutil.rmtree(self.path / "stages" / name)
        return self.manifest(lambda m: m["stages"].update({name: {"status": status, "reason": reason}}))

    def manifest(self, change: Callable[[dict[str, Any]], None]) -> Self:
        """Changes the manifest in place."""
        document = read_json(self.path / "manifest.json")
        change(document)
        write_json(self.path / "manifest.json", document)
        return self

    def sealed(self) -> Self:
        """Makes every hash and every claim again, so that the run verifies."""
        run = RunFolder(self.path)
        manifest = run.manifest()
        stages = {
            name: state.model_copy(update={"done": self._seal(name)}) if state.status == "done" else state
            for name, state in manifest.stages.items()
        }
        run.write_manifest(manifest.model_copy(update={"stages": stages}))
        run.write_claims(LEDGERS[manifest.kind](run))
        return self

    def _seal(self, stage: str) -> str:
        path = self.path / "stages" / stage
        files = {name: sha256_file(path / name) for name in stage_files(path)}
        done = documents.Done(key="0" * 64, files=files, seconds=1.0)
        write_json(path / "DONE", done.model_dump(mode="json"))
        return sha256_file(path / "DONE")


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., Planted]:
    """Makes a run of a kind whose manifest says that it was measured; a comparison has no relearning."""

    def make(kind: str = "compare", name: str = "run") -> Planted:
        path = tmp_path / name
        shutil.copytree(MINIATURES / kind, path, ignore=shutil.ignore_patterns("relearn"))
        run = Planted(path).manifest(lambda m: m.update(miniature=False))
        return run.manifest(lambda m: m["stages"].pop("relearn", None)).sealed()

    return make


@pytest.fixture
def gate(tmp_path: Path) -> Callable[..., GateResult]:
    """Holds a run against a policy whose rules are given as TOML; the head is filled in."""

    def hold(run: Path | Planted, rules: str, top: str = "", **options: Any) -> GateResult:
        policy = tmp_path / "policy.toml"
        policy.write_text(f'format = 1\ntitle = "test"\n{top}\n{rules}', encoding="utf-8")
        path = run.path if isinstance(run, Planted) else run
        now = options.pop("now", NOW)
        return run_gate(GateConfig(run=str(path), policy=str(policy), **options), now)

    return hold
