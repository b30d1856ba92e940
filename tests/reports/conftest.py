"""Runs to report on: the miniatures, and what can be wrong with a run folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from audit.evidence.claims import LEDGERS
from audit.evidence.files import sha256_file
from audit.evidence.run import RunFolder

RUNS = Path(__file__).parents[1] / "data" / "runs"


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a miniature that may be changed."""

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(RUNS / kind, tmp_path / kind))

    return copy


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The PDF of each miniature, made once."""
    from reports.build import write_report

    folder = tmp_path_factory.mktemp("reported")

    def made(kind: str) -> Path:
        out = folder / f"{kind}.pdf"
        return out if out.exists() else write_report(RUNS / kind, out)

    return made


class Edits:
    """What somebody may do to a run folder."""

    def change(self, path: Path, edit: Callable[[Any], Any]) -> None:
        """Edits a JSON file in place."""
        found = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(edit(found) or found), encoding="utf-8")

    def seal(self, run: Path) -> None:
        """Makes every hash fit what the files say now, as somebody would who makes a run folder by hand."""
        folder = RunFolder(run)
        for done in sorted(run.glob("stages/*/DONE")):
            self.change(done, lambda found, at=done.parent: self._hashed(found, at))
        self.change(run / "manifest.json", lambda found: self._named(found, run))
        folder.write_claims(LEDGERS[folder.manifest().kind](folder))

    def skip(self, run: Path, *stages: str) -> None:
        """Makes the run one that left these stages out."""
        for stage in stages:
            shutil.rmtree(run / "stages" / stage)
        skipped = {stage: {"status": "skipped", "reason": "left out by --skip"} for stage in stages}
        self.change(run / "manifest.json", lambda found: found["stages"].update(skipped))
        self.seal(run)

    @staticmethod
    def _hashed(found: Any, folder: Path) -> None:
        found["files"] = {name: sha256_file(folder / name) for name in found["files"]}

    @staticmethod
    def _named(found: Any, run: Path) -> None:
        for stage, state in found["stages"].items():
            if state["status"] == "done":
                state["done"] = sha256_file(run / "stages" / stage / "DONE")


@pytest.fixture(scope="session")
def edits() -> Edits:
    """What somebody may do to a run folder."""
    return Edits()


@pytest.fixture(scope="session")
def evidences() -> Callable[[str], Any]:
    """The evidence of each miniature, read once."""
    from reports.ledger import evidence_of

    return cache(lambda kind: evidence_of(RUNS / kind))


@pytest.fixture(scope="session")
def documents(evidences: Callable[[str], Any]) -> Callable[[str], Any]:
    """The report of each miniature, made once."""
    from reports.content import report_of

    return cache(lambda kind: report_of(evidences(kind)))
