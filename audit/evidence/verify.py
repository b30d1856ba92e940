"""Does a run folder still say what was measured? Recomputes every hash and looks up every claimed number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.errors import RunFolderError
from audit.evidence.claims import LEDGERS
from audit.evidence.files import read_json, sha256_file
from audit.evidence.run import CLAIMS, CONFIG, MANIFEST, RunFolder
from audit.evidence.schema import TABLES, documents
from audit.evidence.schema.results import STAGES
from audit.evidence.stage import DONE, stage_files


@dataclass(frozen=True)
class Verification:
    """What `audit verify` found."""

    files: int
    claims: int
    problems: tuple[str, ...]
    manifest: str
    """SHA-256 of the manifest, which names every other hash: write it down where the run's author cannot."""

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems


def verify_run(run: RunFolder) -> Verification:
    """Checks every finished stage's files, every table's schema, and every claim against its evidence."""
    manifest = run.manifest()
    files = 0
    problems: list[str] = []
    for stage, state in manifest.stages.items():
        if state.status == "done":
            done, found = _verify_stage(run, stage, state)
            files, problems = files + done, problems + found
        elif state.status != "skipped" or stage in STAGES[manifest.kind]:
            problems.append(f"stage {stage} is not done: {state.reason or state.status}")
    problems += _verify_manifest(run, manifest)
    claims = _claims(run, manifest)
    problems += [problem for claim in claims for problem in _verify_claim(run.path, claim)]
    problems += _verify_ledger(run, manifest, claims)
    return Verification(files, len(claims), tuple(problems), sha256_file(run.path / MANIFEST))


def _verify_manifest(run: RunFolder, manifest: documents.Manifest) -> list[str]:
    """The stages that this kind of run must have, and the settings."""
    missing = [stage for stage in STAGES[manifest.kind] if stage not in manifest.stages]
    found = [f"stage {stage} is missing from the manifest" for stage in missing]
    config = run.path / CONFIG
    if not config.is_file() or sha256_file(config) != manifest.config:
        found.append(f"{CONFIG} is missing or was changed after it was written")
    return found


def _claims(run: RunFolder, manifest: documents.Manifest) -> list[documents.Claim]:
    return [] if manifest.claims is None else run.claims().claims


def _verify_ledger(run: RunFolder, manifest: documents.Manifest, claims: list[documents.Claim]) -> list[str]:
    """Every sentence, interval and precondition is what the results say, word for word."""
    if manifest.claims is None:
        return ["the run was not finished: it has no claims"]
    found = []
    if sha256_file(run.path / CLAIMS) != manifest.claims:
        found.append(f"{CLAIMS} was changed after it was written")
    try:
        expected = LEDGERS[manifest.kind](run).claims
    except (RunFolderError, ValueError) as error:
        return [*found, f"the claims cannot be derived again: {error}"]
    by_name = {claim.id: claim for claim in expected}
    if [claim.id for claim in claims] != [claim.id for claim in expected]:
        found.append("the list of claims is not the one that the results give")
    changed = [claim.id for claim in claims if claim.id in by_name and claim != by_name[claim.id]]
    return found + [f"claim {name}: its words or numbers are not what the results say" for name in changed]


def _verify_stage(run: RunFolder, stage: str, state: documents.StageState) -> tuple[int, list[str]]:
    path = run.stage_path(stage)
    try:
        done = documents.Done.model_validate(read_json(path / DONE))
    except (RunFolderError, ValueError):
        return 0, [f"stages/{stage}/DONE is missing or broken"]
    changed = sha256_file(path / DONE) != state.done
    problems = [f"stages/{stage}/{DONE} is not the one that the manifest names"] if changed else []
    for name, sha256 in done.files.items():
        if not (path / name).is_file():
            problems.append(f"stages/{stage}/{name} is missing")
        elif sha256_file(path / name) != sha256:
            problems.append(f"stages/{stage}/{name} was changed after it was written")
        else:
            problems += _verify_schema(run, stage, name)
    unlisted = [name for name in stage_files(path) if name not in done.files]
    problems += [f"stages/{stage}/{name} does not belong to the run" for name in unlisted]
    return len(done.files), problems


def _verify_schema(run: RunFolder, stage: str, name: str) -> list[str]:
    try:
        if name == "result.json":
            run.result(stage)
        elif name.endswith(".parquet") and name.removesuffix(".parquet") in TABLES:
            run.table(stage, name.removesuffix(".parquet"))
    except RunFolderError as error:
        return [f"stages/{stage}/{name}: {error.problem}"]
    return []


def _verify_claim(root: Path, claim: documents.Claim) -> list[str]:
    path = (root / claim.evidence.file).resolve()
    if not path.is_relative_to(root.resolve()):
        return [f"claim {claim.id}: its evidence lies outside the run folder"]
    if not path.is_file():
        return [f"claim {claim.id}: {claim.evidence.file} is missing"]
    if sha256_file(path) != claim.evidence.sha256:
        return [f"claim {claim.id}: {claim.evidence.file} has another SHA-256"]
    try:
        found = resolve_pointer(read_json(path), claim.evidence.pointer)
    except (KeyError, IndexError, ValueError, TypeError):
        return [f"claim {claim.id}: nothing at {claim.evidence.pointer} in {claim.evidence.file}"]
    claimed = (claim.value, claim.low, claim.high)
    measured = (
        (found["value"], found["low"], found["high"]) if isinstance(found, dict) else (found, None, None)
    )
    if claimed != measured:
        return [f"claim {claim.id}: says {claimed}, the evidence says {measured}"]
    return []


def resolve_pointer(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901)."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document
