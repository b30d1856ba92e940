"""Does a run folder still say what was measured? Recomputes every hash and looks up every claimed number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from audit.errors import RunFolderError
from audit.evidence.claims import LEDGERS
from audit.evidence.files import read_json, sha256_file
from audit.evidence.findings import FINDINGS, check_chain
from audit.evidence.run import CLAIMS, CONFIG, MANIFEST, RunFolder
from audit.evidence.schema import TABLES, Table, documents
from audit.evidence.schema.results import RESULTS, STAGES
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
    problems += [problem for said in claim_problems(run.path, claims).values() for problem in said]
    problems += _verify_ledger(run, manifest, claims)
    problems += _verify_findings(run)
    return Verification(files, len(claims), tuple(problems), sha256_file(run.path / MANIFEST))


def _verify_findings(run: RunFolder) -> list[str]:
    """The reviewers' log, where there is one, is a whole chain."""
    try:
        return [f"{FINDINGS}: {problem}" for problem in check_chain(run.path / FINDINGS)]
    except RunFolderError as error:
        return [f"{FINDINGS}: {error.problem}"]


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
    files, problems = stage_problems(run, stage, state)
    if problems:
        return files, problems
    path = run.stage_path(stage)
    problems = [problem for name in stage_files(path) for problem in _verify_schema(path / name, stage, name)]
    return files, problems


def stage_problems(run: RunFolder, stage: str, state: documents.StageState) -> tuple[int, list[str]]:
    """How many files a finished stage lists, and which of them are not as they were written.

    Names that lead out of the run folder, by their path or by a link, are problems and are not followed.
    """
    path = run.stage_path(stage)
    if stage not in RESULTS or inside(run.path, path) is None:
        return 0, [f"stages/{stage} is no stage of this version, or lies outside the run folder"]
    if inside(run.path, path / DONE) is None:
        return 0, [f"stages/{stage}/{DONE} lies outside the run folder"]
    try:
        done = documents.Done.model_validate(read_json(path / DONE))
    except (RunFolderError, ValueError):
        return 0, [f"stages/{stage}/DONE is missing or broken"]
    changed = sha256_file(path / DONE) != state.done
    problems = [f"stages/{stage}/{DONE} is not the one that the manifest names"] if changed else []
    problems += [said for name, sha in done.files.items() for said in _file_problems(path, stage, name, sha)]
    unlisted = [name for name in stage_files(path) if name not in done.files]
    problems += [f"stages/{stage}/{name} does not belong to the run" for name in unlisted]
    return len(done.files), problems


def _file_problems(path: Path, stage: str, name: str, sha256: str) -> list[str]:
    found = inside(path, path / name)
    if found is None:
        return [f"stages/{stage}/{name} lies outside the run folder"]
    if not found.is_file():
        return [f"stages/{stage}/{name} is missing"]
    if sha256_file(found) != sha256:
        return [f"stages/{stage}/{name} was changed after it was written"]
    return []


def inside(root: Path, path: Path) -> Path | None:
    """`path` with all links followed; None where that leads out of `root`, or nowhere."""
    try:
        found = path.resolve()
        return found if found.is_relative_to(root.resolve()) else None
    except (OSError, RuntimeError, ValueError):  # links in a circle, a name too long, a NUL in it
        return None


def _verify_schema(path: Path, stage: str, name: str) -> list[str]:
    """A result fits its model, a table has its columns; the rows of tables are not read."""
    try:
        if name == "result.json":
            RESULTS[stage].model_validate(read_json(path))
        elif name.endswith(".parquet") and (table := TABLES.get(name.removesuffix(".parquet"))):
            return _verify_columns(path, stage, name, table)
    except (RunFolderError, ValueError) as error:
        problem = error.problem if isinstance(error, RunFolderError) else "does not fit this version's format"
        return [f"stages/{stage}/{name}: {problem}"]
    return []


def _verify_columns(path: Path, stage: str, name: str, table: Table) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid):
        return [f"stages/{stage}/{name}: A table of the run is broken."]
    if found.equals(table.arrow):
        return []
    return [f"stages/{stage}/{name}: The table has other columns than this version's {table.name!r}."]


def claim_problems(root: Path, claims: Sequence[documents.Claim]) -> dict[str, list[str]]:
    """What is wrong with each claim, by its id: the evidence is not there, was changed, or says another."""
    documents_of: dict[str, _Evidence] = {}
    found: dict[str, list[str]] = {}
    for claim in claims:
        name = claim.evidence.file
        if name not in documents_of:
            documents_of[name] = _read_evidence(root, name)
        said = _claim_problem(claim, documents_of[name])
        found.setdefault(claim.id, []).extend([] if said is None else [said])
    for name, count in Counter(claim.id for claim in claims).items():
        if count > 1:
            found[name].append(f"claim {name}: {count} claims have this id")
    return found


class _Evidence(NamedTuple):
    """A file of evidence, read once."""

    sha256: str | None
    document: Any
    problem: str | None = None


def _read_evidence(root: Path, name: str) -> _Evidence:
    path = inside(root, root / name)
    if path is None:
        return _Evidence(None, None, "its evidence lies outside the run folder")
    if not path.is_file():
        return _Evidence(None, None, f"{name} is missing")
    try:
        return _Evidence(sha256_file(path), read_json(path))
    except (RunFolderError, OSError):
        return _Evidence(None, None, f"{name} cannot be read")


def _claim_problem(claim: documents.Claim, evidence: _Evidence) -> str | None:
    if evidence.problem is not None:
        return f"claim {claim.id}: {evidence.problem}"
    if evidence.sha256 != claim.evidence.sha256:
        return f"claim {claim.id}: {claim.evidence.file} has another SHA-256"
    try:
        found = resolve_pointer(evidence.document, claim.evidence.pointer)
    except (KeyError, IndexError, ValueError, TypeError):
        return f"claim {claim.id}: nothing at {claim.evidence.pointer} in {claim.evidence.file}"
    claimed = (claim.value, claim.low, claim.high)
    measured = (
        (found.get("value"), found.get("low"), found.get("high"))
        if isinstance(found, dict)
        else (found, None, None)
    )
    return None if claimed == measured else f"claim {claim.id}: says {claimed}, the evidence says {measured}"


def resolve_pointer(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901)."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document
