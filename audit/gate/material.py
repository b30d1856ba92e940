"""What the rules look at: the run read once, verified, with its findings log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from audit.errors import RunFolderError
from audit.evidence.files import sha256_file
from audit.evidence.findings import FINDINGS, GENESIS, Findings, check_chain, read_findings
from audit.evidence.run import CLAIMS, MANIFEST, RunFolder, open_run
from audit.evidence.schema.documents import Claim, Manifest, StageState
from audit.evidence.schema.results import RESULTS
from audit.evidence.stage import DONE
from audit.evidence.verify import Verification, inside, verify_run
from audit.gate.rules import ANY

LARGEST_DOCUMENT = 256 * 2**20
"""Bytes of a JSON document; what is larger is refused before it is read."""
LARGEST_TABLE = 512 * 2**20
"""Bytes, unpacked, of a table that a rule reads as a whole."""


@dataclass(frozen=True)
class Material:
    """A run as the rules see it; whatever is read more than once is kept."""

    run: RunFolder
    manifest: Manifest
    manifest_sha256: str
    claims: tuple[Claim, ...]
    """Those of finished stages: what another stage left behind is no evidence."""
    verification: Verification
    now: datetime

    @cached_property
    def findings(self) -> Findings | str:
        """The findings log; a sentence where it cannot be trusted."""
        path = self.run.path / FINDINGS
        try:
            problems = check_chain(path)
            return problems[0] if problems else read_findings(path)
        except RunFolderError as error:
            return f"{error.problem} ({error.where})" if error.where else error.problem

    @property
    def findings_head(self) -> str | None:
        """SHA-256 of the log's last line; None where there is none."""
        found = self.findings
        return None if isinstance(found, str) or found.head == GENESIS else found.head

    def claims_like(self, pattern: str) -> list[Claim]:
        """The claims whose id a pattern fits, segment by segment."""
        wanted = pattern.split("/")
        return [claim for claim in self.claims if _fits(claim.id, wanted)]

    def result(self, stage: str) -> Any:
        """The result of a stage; None where it was not done or cannot be read."""
        try:
            return self.run.result(stage) if self._done(stage) else None
        except RunFolderError:
            return None

    def table(self, stage: str, name: str) -> Any:
        """A table as a frame; None where the stage was not done, or it cannot be read or is too large."""
        path = self.run.stage_path(stage) / f"{name}.parquet"
        if not self._done(stage) or inside(self.run.path, path) is None or _unpacked(path) > LARGEST_TABLE:
            return None
        try:
            return self.run.table(stage, name)
        except RunFolderError:
            return None

    def sha256(self, stage: str, name: str) -> str | None:
        """SHA-256 of a stage's file, as it is now."""
        path = inside(self.run.path, self.run.stage_path(stage) / name)
        return sha256_file(path) if path is not None and path.is_file() else None

    def why_missing(self, stage: str) -> str:
        """Why a stage gave no evidence."""
        state = self.manifest.stages.get(stage)
        if state is None:
            return f"the run has no stage {stage}"
        reason = f": {state.reason}" if state.reason else ""
        return f"stage {stage} is {state.status}{reason}"

    def _done(self, stage: str) -> bool:
        state: StageState | None = self.manifest.stages.get(stage)
        known = stage in RESULTS and inside(self.run.path, self.run.stage_path(stage) / DONE) is not None
        return known and state is not None and state.status == "done"


def read_material(path: Path, now: datetime) -> Material:
    """Reads and verifies a run.

    Raises:
        RunFolderError: there is no run, or a document of it cannot be read at all.
    """
    with _unreadable(path):
        for name in (MANIFEST, CLAIMS):
            _refuse_unfit(path, path / name)
        for found in path.glob("stages/*/*"):
            if found.suffix == ".json" or found.name == DONE:
                _refuse_unfit(path, found)
        run = open_run(path)
        manifest = run.manifest()
        return Material(
            run=run,
            manifest=manifest,
            manifest_sha256=sha256_file(path / MANIFEST),
            claims=_claims(run, manifest),
            verification=verify_run(run),
            now=now,
        )


def _claims(run: RunFolder, manifest: Manifest) -> tuple[Claim, ...]:
    done = {f"stages/{name}/result.json" for name, state in manifest.stages.items() if state.status == "done"}
    found = [] if manifest.claims is None else run.claims().claims
    return tuple(claim for claim in found if claim.evidence.file in done)


@contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    """Documents nested without end, or made to break a parser, are a message as well."""
    try:
        yield
    except (RecursionError, OSError, ValueError, UnicodeError) as error:
        raise RunFolderError(
            f"The run cannot be read: {type(error).__name__}.", where=str(path), fix=FIX
        ) from error


def _refuse_unfit(root: Path, path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        return
    if path.is_symlink() or inside(root, path) is None:
        raise RunFolderError("A document of the run is a link.", where=str(path), fix=FIX)
    if path.stat().st_size > LARGEST_DOCUMENT:
        problem = f"A document of the run is larger than {LARGEST_DOCUMENT // 2**20} MiB."
        raise RunFolderError(problem, where=str(path), fix=FIX)


def _fits(name: str, wanted: list[str]) -> bool:
    segments = name.split("/")
    return len(segments) == len(wanted) and all(
        want in (ANY, segment) for want, segment in zip(wanted, segments, strict=True)
    )


def _unpacked(path: Path) -> int:
    """Bytes of a Parquet file's columns, by its own metadata; 0 where that cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid):
        return 0
    return sum(metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))


FIX = "do not trust this folder: get the run again from who made it"
