"""A run as a report may use it: claims whose evidence verifies, results and tables that are as written."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from audit.errors import AuditError, RunFolderError
from audit.evidence.claims import LEDGERS
from audit.evidence.files import sha256_file
from audit.evidence.findings import FINDINGS, Findings, check_chain, read_findings
from audit.evidence.run import CLAIMS, CONFIG, MANIFEST, RunFolder, open_run
from audit.evidence.schema import TABLES
from audit.evidence.schema.documents import Claim, Manifest, StageState
from audit.evidence.schema.results import Verdict
from audit.evidence.verify import claim_problems, inside, stage_problems
from reports.model import Source, Span, gap
from reports.numbers import claimed

if TYPE_CHECKING:
    import pandas as pd

LARGEST_TABLE = 2**30
"""Bytes, unpacked, of the columns that a figure may read; a table beyond is named and not drawn."""
MOST_ROWS = 4_000_000
LARGEST_DOCUMENT = 64 * 2**20
"""Bytes of a JSON document of the run; what is larger is no audit's."""


class UnreadableError(Exception):
    """A table cannot be used; the message says why."""


@dataclass(frozen=True)
class Entry:
    """A claim, its number in the ledger, and what is wrong with it."""

    number: int
    claim: Claim
    problems: tuple[str, ...]
    reworded: bool = False
    """Its sentence is not the one that this version makes of the same results."""

    @property
    def holds(self) -> bool:
        """Whether its evidence is there and says what the claim says."""
        return not self.problems


class Evidence:
    """Everything that a report reads of a run; what does not verify is withheld, with its reason.

    Raises:
        RunFolderError: there is no run, its manifest or ledger cannot be read, or they lead elsewhere.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        for name in (MANIFEST, CLAIMS, CONFIG, FINDINGS):
            _refuse_strange(run.path, name)
        self.manifest: Manifest = run.manifest()
        _refuse_timeless(self.manifest, run.path)
        self.manifest_bytes = (run.path / MANIFEST).read_bytes()
        self.manifest_sha256 = hashlib.sha256(self.manifest_bytes).hexdigest()
        self.claims_bytes: bytes | None = None
        self._findings: bytes | None = None
        self.stage_problems = {
            stage: tuple(self._problems_of(stage, state)) for stage, state in self.manifest.stages.items()
        }
        self.ledger_problems, self.entries = self._read_ledger()
        self._by_id = {entry.claim.id: entry for entry in self.entries}

    def _problems_of(self, stage: str, state: StageState) -> list[str]:
        if state.status != "done":
            return []
        try:
            return stage_problems(self.run, stage, state)[1]
        except OSError as error:
            return [f"stages/{stage} cannot be read: {error.strerror}"]

    def _read_ledger(self) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
        if self.manifest.claims is None:
            return ("the run was not finished: it has no claims",), ()
        claims = self.run.claims().claims
        self.claims_bytes = (self.run.path / CLAIMS).read_bytes()
        problems = claim_problems(self.run.path, claims)
        changed = sha256_file(self.run.path / CLAIMS) != self.manifest.claims
        said = (f"{CLAIMS} was changed after it was written",) if changed else ()
        broken, differing = self._derived(claims)
        entries = tuple(
            Entry(number, claim, (*problems[claim.id], *said), claim.id in differing)
            for number, claim in enumerate(claims, start=1)
        )
        return (*said, *broken), entries

    def _derived(self, claims: Sequence[Claim]) -> tuple[tuple[str, ...], set[str]]:
        """The ledger made again from the results: sentences hold numbers too, and those must agree."""
        try:
            expected = {c.id: c for c in LEDGERS[self.manifest.kind](self.run).claims}
        except (AuditError, ValueError, KeyError, OSError) as error:
            problem = error.problem if isinstance(error, AuditError) else str(error)
            return (f"the claims cannot be derived again: {problem}",), {claim.id for claim in claims}
        differing = {claim.id for claim in claims if expected.get(claim.id) != claim}
        missing = sorted(expected.keys() - {claim.id for claim in claims})
        said = [f"claim {name} is missing from the ledger" for name in missing]
        said += [f"claim {name}: its words are not what the results say" for name in sorted(differing)]
        return tuple(said), differing

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that does not verify, each once."""
        stages = (problem for found in self.stage_problems.values() for problem in found)
        claims = (problem for entry in self.entries for problem in entry.problems)
        return tuple(dict.fromkeys([*stages, *self.ledger_problems, *claims, *self.config_problems]))

    @cached_property
    def config_problems(self) -> tuple[str, ...]:
        """The settings are those that the manifest names."""
        path = self.run.path / CONFIG
        same = path.is_file() and sha256_file(path) == self.manifest.config
        return () if same else (f"{CONFIG} is missing or was changed after it was written",)

    def has(self, name: str) -> bool:
        """Whether the ledger has a claim of this id."""
        return name in self._by_id

    def entry(self, name: str) -> Entry | None:
        """The claim of this id."""
        return self._by_id.get(name)

    def of(self, prefix: str) -> list[Entry]:
        """The claims whose ids begin so, in the ledger's order."""
        return [entry for entry in self.entries if entry.claim.id.startswith(prefix)]

    def slot(self, name: str) -> Span:
        """The value of a claim with its key; a gap where there is none or its evidence does not verify."""
        entry = self.entry(name)
        if entry is None:
            return gap("not measured")
        return _span(entry, claimed(entry.claim))

    def sentence(self, entry: Entry) -> Span:
        """The statement of a claim with its key, or a gap; only its value where the words do not verify."""
        return _span(entry, claimed(entry.claim) if entry.reworded else entry.claim.statement)

    def result(self, stage: str) -> Any:
        """The stage's result if the stage is done and as it was written, else None."""
        state = self.manifest.stages.get(stage)
        if state is None or state.status != "done" or self.stage_problems[stage]:
            return None
        try:
            return self.run.result(stage)
        except RunFolderError:
            return None

    def why_missing(self, stage: str) -> str:
        """Why `result` gave nothing."""
        state = self.manifest.stages.get(stage)
        if state is None:
            return "not part of this run"
        if state.status != "done":
            return f"{state.status}: {state.reason or 'no reason was recorded'}"
        if problems := self.stage_problems[stage]:
            return f"the evidence does not verify: {problems[0]}"
        return "its result does not fit this version's format"

    def source(self, stage: str, file: str) -> Source:
        """A file of a finished stage with its hash."""
        path = self.run.stage_path(stage) / file
        return Source(f"stages/{stage}/{file}", sha256_file(path))

    def table(self, stage: str, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of a table.

        Raises:
            UnreadableError: the stage does not verify, or the table is missing, broken or too large.
        """
        if self.result(stage) is None:
            raise UnreadableError(self.why_missing(stage))
        return read_columns(self.run.stage_path(stage) / f"{name}.parquet", name, columns)

    @cached_property
    def findings(self) -> tuple[Findings | None, tuple[str, ...]]:
        """The log of findings and the problems of its chain; None where it cannot be read."""
        if self._findings is None:
            return _findings_at(self.run.path / FINDINGS)
        if not self._findings:
            return _findings_at(self.run.path / "none" / FINDINGS)
        with tempfile.TemporaryDirectory(prefix="unmask-findings-") as folder:
            path = Path(folder) / FINDINGS
            path.write_bytes(self._findings)
            return _findings_at(path)

    @property
    def findings_bytes(self) -> bytes:
        """The log as it is read here; nothing where there is none."""
        path = self.run.path / FINDINGS
        if self._findings is not None:
            return self._findings
        return path.read_bytes() if path.is_file() else b""

    def use_findings(self, content: bytes | None) -> None:
        """Reads the log from these bytes, as it was when a report was made; None: there was none."""
        self._findings = content or b""


def _refuse_timeless(manifest: Manifest, path: Path) -> None:
    """A report has no clock of its own: its only time is that of the manifest."""
    try:
        datetime.fromisoformat(manifest.created)
    except ValueError as error:
        raise RunFolderError(
            "The manifest's time of creation is no time.",
            where=str(path / MANIFEST),
            fix="open a run folder as `audit` wrote it",
        ) from error


def _findings_at(path: Path) -> tuple[Findings | None, tuple[str, ...]]:
    try:
        problems = check_chain(path)
        return read_findings(path), tuple(problems)
    except RunFolderError as error:
        return None, (error.problem,)


def evidence_of(path: Path) -> Evidence:
    """The evidence of the run in this folder."""
    return Evidence(open_run(path))


def read_columns(path: Path, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """Some columns of a Parquet table of the schema, after a look at how large they are.

    Raises:
        UnreadableError: missing, broken, of another schema, or too large to draw.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = TABLES[name]
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(table.arrow):
                raise UnreadableError(f"{name}.parquet has other columns than this version's")
            _refuse_large(file.metadata, name, columns)
        text = [c.name for c in table.columns if c.name in columns and pa.types.is_string(c.type)]
        found = pq.read_table(path, columns=list(columns), read_dictionary=text)
    except FileNotFoundError:
        raise UnreadableError(f"{name}.parquet is missing") from None
    except (OSError, pa.ArrowException) as error:
        raise UnreadableError(f"{name}.parquet is broken: {error}") from error
    frame: pd.DataFrame = found.to_pandas()
    return frame


def _refuse_large(metadata: Any, name: str, columns: Sequence[str]) -> None:
    if metadata.num_rows > MOST_ROWS:
        raise UnreadableError(f"{name}.parquet has {metadata.num_rows:,} rows, too many to draw")
    unpacked = sum(
        column.total_uncompressed_size
        for group in (metadata.row_group(i) for i in range(metadata.num_row_groups))
        for column in (group.column(j) for j in range(group.num_columns))
        if column.path_in_schema.split(".")[0] in columns
    )
    if unpacked > LARGEST_TABLE:
        raise UnreadableError(f"the columns of {name}.parquet take {unpacked:,} bytes, too many to draw")


def _span(entry: Entry, text: str) -> Span:
    if not entry.holds:
        return gap(f"withheld: {entry.problems[0]}")
    word = entry.claim.id.startswith("verdict/") and text in get_args(Verdict)
    style = "verdict" if word else "plain"
    return Span(text, style, key=entry.number)  # type: ignore[arg-type]


def _refuse_strange(root: Path, name: str) -> None:
    """A document of the run that is a link out of it, or no file, or huge, is not read."""
    path = root / name
    if not path.is_symlink() and not path.exists():
        return
    found = inside(root, path)
    fix = "open a run folder as `audit` wrote it; links out of it are not followed"
    if found is None or not found.is_file():
        raise RunFolderError("A file of the run leads out of it, or is no file.", where=str(path), fix=fix)
    if found.stat().st_size > LARGEST_DOCUMENT:
        problem = f"A file of the run has {found.stat().st_size:,} bytes; an audit writes far less."
        raise RunFolderError(problem, where=str(path), fix="make the run again")
