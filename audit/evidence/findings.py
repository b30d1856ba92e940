"""The findings log: what reviewers saw in a run and who signed it off; lines are added, never changed.

`findings.jsonl` holds one JSON object per line. Each line names the SHA-256 of the line before, so that a
line which was changed, removed or put in between shows. A chain proves nothing against somebody who writes
all of it anew, nor against lines cut off its end: keep `Findings.head` where the log's author cannot write.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator

from audit.errors import OutputError, RunFolderError, UsageError
from audit.evidence.files import output_errors, replacing
from audit.evidence.schema.documents import Document

FINDINGS, LOCK = "findings.jsonl", ".findings.lock"
GENESIS = "0" * 64
"""What the first line names as the line before it."""
LARGEST_LINE, LARGEST_LOG = 65_536, 16 * 2**20
"""Bytes of one line and of the whole log; what is larger is refused on reading and on writing."""
PATIENCE = 10.0
"""Seconds to wait for another writer."""

Action = Literal["opened", "noted", "signed off", "withdrawn"]
Severity = Literal["info", "low", "medium", "high", "critical"]
Status = Literal["open", "signed off", "withdrawn"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the worst."""


def _plain(text: str) -> str:
    """One line of text that neither steers a terminal nor changes the direction of what stands beside it."""
    return _clean(text, allowed="")


def _plain_lines(text: str) -> str:
    return _clean(text, allowed="\n\t")


def _clean(text: str, allowed: str) -> str:
    for character in text:
        if character not in allowed and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            if character in "\u200c\u200d":  # joiners, which several scripts and emoji need
                continue
            raise ValueError(f"holds the character U+{ord(character):04X}, which does not print")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _utc(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() != timedelta(0):
        raise ValueError("is not a time in UTC")
    return text


Name = Annotated[str, Field(max_length=100), AfterValidator(_plain), AfterValidator(_not_blank)]
Title = Annotated[str, Field(max_length=200), AfterValidator(_plain), AfterValidator(_not_blank)]
Note = Annotated[str, Field(max_length=10_000), AfterValidator(_plain_lines)]
Address = Annotated[str, Field(max_length=300), AfterValidator(_plain), AfterValidator(_not_blank)]
FindingId = Annotated[str, Field(pattern=r"^F[1-9][0-9]{0,5}$")]
Addresses = Annotated[list[Address], Field(max_length=50)]


class Entry(Document):
    """What a reviewer adds to the log; `append_finding` gives it its ids, its time and its place."""

    action: Action
    reviewer: Name
    finding: FindingId | None = None
    """What it is about; None for `opened`, which makes a new one."""
    severity: Severity | None = None
    """Required for `opened`; None leaves it as it was."""
    title: Title | None = None
    """Likewise."""
    note: Note = ""
    evidence: Addresses = Field(default_factory=list)
    """Ids of claims, or addresses HOOK/LATENT of features."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.action == "opened" and (self.severity is None or self.title is None):
            raise ValueError("a finding is opened with a severity and a title")
        if (self.action == "opened") != (self.finding is None):
            raise ValueError("every action but `opened` names the finding that it is about")
        return self


class Finding(Document):
    """One line of the log."""

    id: Annotated[str, Field(pattern=r"^E[1-9][0-9]{0,5}$")]
    at: Annotated[str, Field(max_length=40), AfterValidator(_utc)]
    """Time in UTC, ISO 8601, by the clock of the machine that wrote it."""
    action: Action
    finding: FindingId
    severity: Severity
    title: Title
    note: Note
    evidence: Addresses
    reviewer: Name
    previous: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the line before, without its line break."""


@dataclass(frozen=True)
class FindingState:
    """One finding as it stands, with everything that was said about it."""

    entries: tuple[Finding, ...]

    @property
    def finding(self) -> str:
        """Its id."""
        return self.entries[0].finding

    @property
    def severity(self) -> Severity:
        """The latest."""
        return self.entries[-1].severity

    @property
    def title(self) -> str:
        """The latest."""
        return self.entries[-1].title

    @property
    def evidence(self) -> tuple[str, ...]:
        """All addresses that any entry names, each once, in order."""
        return tuple(dict.fromkeys(address for entry in self.entries for address in entry.evidence))

    @property
    def status(self) -> Status:
        """Withdrawn once withdrawn; signed off until somebody raises the severity again."""
        if any(entry.action == "withdrawn" for entry in self.entries):
            return "withdrawn"
        return "signed off" if self.signatures else "open"

    @property
    def signatures(self) -> tuple[Finding, ...]:
        """The sign-offs that hold: none given before the severity was last raised."""
        raised = [
            place
            for place, (before, after) in enumerate(pairwise(self.entries), start=1)
            if SEVERITIES.index(after.severity) > SEVERITIES.index(before.severity)
        ]
        since = self.entries[raised[-1] if raised else 0 :]
        return tuple(entry for entry in since if entry.action == "signed off")


@dataclass(frozen=True)
class Findings:
    """A log as it was read."""

    entries: tuple[Finding, ...]
    head: str
    """SHA-256 of the last line: who wrote it down elsewhere sees whether lines were cut off."""

    @property
    def current(self) -> dict[str, FindingState]:
        """Every finding by its id, withdrawn ones included, in the order of opening."""
        about: dict[str, list[Finding]] = {}
        for entry in self.entries:
            about.setdefault(entry.finding, []).append(entry)
        return {name: FindingState(tuple(entries)) for name, entries in about.items()}

    @property
    def open(self) -> list[FindingState]:
        """Neither signed off nor withdrawn."""
        return [state for state in self.current.values() if state.status == "open"]

    @property
    def signed_off(self) -> list[FindingState]:
        """Signed off by somebody."""
        return [state for state in self.current.values() if state.status == "signed off"]

    @property
    def withdrawn(self) -> list[FindingState]:
        """Withdrawn; they stay visible."""
        return [state for state in self.current.values() if state.status == "withdrawn"]


def read_findings(path: Path) -> Findings:
    """The log at `path`; a missing file is an empty log.

    Raises:
        RunFolderError: a line is torn, broken, too long, or about a finding that nobody opened.
    """
    lines = _lines(path)
    entries = tuple(_parsed(path, number, line) for number, line in enumerate(lines, start=1))
    _refuse_impossible(path, entries)
    return Findings(entries, _sha256(lines[-1]) if lines else GENESIS)


def check_chain(path: Path) -> list[str]:
    """Where the log's lines do not follow from one another; empty for a whole chain.

    Raises:
        RunFolderError: as `read_findings`.
    """
    entries, lines = read_findings(path).entries, _lines(path)
    hashes = [GENESIS, *map(_sha256, lines)]
    broken = [
        f"line {number} does not follow from the one before it: a line was changed, removed or put in between"
        for number, (entry, expected) in enumerate(zip(entries, hashes, strict=False), start=1)
        if entry.previous != expected
    ]
    numbers = [
        f"line {n} is numbered {entry.id}" for n, entry in enumerate(entries, 1) if entry.id != f"E{n}"
    ]
    return broken + numbers


def append_finding(path: Path, entry: Entry | Mapping[str, Any]) -> Finding:
    """Adds one line: after a kill at any moment it is there whole or not at all.

    Args:
        path: the log; it is made if it is missing, its folder is not.
        entry: what to add; a mapping is validated first.

    Raises:
        UsageError: the entry is wrong: no reviewer, a finding that nobody opened, text too long or unfit.
        RunFolderError: the log is broken; nothing is written then.
        OutputError: the log cannot be written, or another process holds it.
    """
    wanted = _validated(entry)
    with _locked(path):
        problems = check_chain(path)
        if problems:
            raise RunFolderError(f"The findings log is broken: {problems[0]}.", where=str(path), fix=ASIDE)
        log = read_findings(path)
        line = _completed(wanted, log)
        before = path.read_bytes() if path.exists() else b""
        text = line.model_dump_json().encode() + b"\n"
        if len(text) > LARGEST_LINE or len(before) + len(text) > LARGEST_LOG:
            raise UsageError("The log would become too large.", where=str(path), fix="shorten the note")
        with replacing(path) as temporary:
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as stream:  # exclusive: a link that waits here is not followed
                stream.write(before + text)
        _sync_folder(path.parent)
    return line


def _validated(entry: Entry | Mapping[str, Any]) -> Entry:
    if isinstance(entry, Entry):
        return entry
    try:
        return Entry.model_validate(dict(entry))
    except ValidationError as error:
        raise UsageError(
            f"The entry is wrong: {_first(error)}.", fix="mend this field; nothing was written"
        ) from error


def _completed(entry: Entry, log: Findings) -> Finding:
    state = None if entry.finding is None else log.current.get(entry.finding)
    if entry.finding is not None:
        _refuse_unfit(entry, state)
    return Finding(
        id=f"E{len(log.entries) + 1}",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        action=entry.action,
        finding=entry.finding or f"F{len(log.current) + 1}",
        severity=entry.severity or (state.severity if state else "info"),
        title=entry.title or (state.title if state else ""),
        note=entry.note,
        evidence=entry.evidence,
        reviewer=entry.reviewer,
        previous=log.head,
    )


def _refuse_unfit(entry: Entry, state: FindingState | None) -> None:
    if state is None:
        raise UsageError(
            f"There is no finding {entry.finding}.",
            where=f"action {entry.action!r}",
            fix="open it first, or name one that was opened",
        )
    if state.status == "withdrawn":
        raise UsageError(
            f"The finding {entry.finding} was withdrawn.",
            where=f"action {entry.action!r}",
            fix="open a new one and name it in the note",
        )
    if entry.action == "signed off" and entry.reviewer in {one.reviewer for one in state.signatures}:
        raise UsageError(
            f"{entry.reviewer} has signed {entry.finding} off before.", fix="nothing is left to do"
        )


def _lines(path: Path) -> list[bytes]:
    """The log's lines without their breaks; a last one without a break is torn."""
    if path.is_symlink():
        raise RunFolderError("The findings log is a link.", where=str(path), fix="put the file itself there")
    if not path.exists():
        return []
    try:
        if path.stat().st_size > LARGEST_LOG:
            raise RunFolderError(
                f"The findings log is larger than {LARGEST_LOG // 2**20} MiB.", where=str(path), fix=ASIDE
            )
        found = path.read_bytes()
    except OSError as error:
        problem = f"The findings log cannot be read: {error.strerror}."
        raise RunFolderError(problem, where=str(path), fix="mend this, then try again") from error
    if found and not found.endswith(b"\n"):
        whole = found.rfind(b"\n") + 1
        raise RunFolderError(
            f"The last line of the findings log is torn: {len(found) - whole} bytes without a line break.",
            where=f"{path}: byte {whole}",
            fix=f"keep a copy of the file, then cut the torn line off: truncate -s {whole} {path.name}",
        )
    return found.split(b"\n")[:-1]


def _parsed(path: Path, number: int, line: bytes) -> Finding:
    problem: str | None = None
    if len(line) > LARGEST_LINE:
        problem = f"it is longer than {LARGEST_LINE:,} bytes"
    else:
        try:
            return Finding.model_validate_json(line)
        except ValidationError as error:
            problem = _first(error)
    raise RunFolderError(
        f"A line of the findings log is broken: {problem}.", where=f"{path}: line {number}", fix=ASIDE
    )


def _refuse_impossible(path: Path, entries: tuple[Finding, ...]) -> None:
    opened: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        if (entry.action == "opened") == (entry.finding in opened):
            said = "opens it again" if entry.finding in opened else "speaks of it, and nobody opened it"
            raise RunFolderError(
                f"The findings log contradicts itself on {entry.finding}: a line {said}.",
                where=f"{path}: line {number}",
                fix=ASIDE,
            )
        opened.add(entry.finding)


def _first(error: ValidationError) -> str:
    """The first complaint in one line, without what was given: that may be 10 MB long."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{field}: {said}" if field else said


def _sha256(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    place = path.with_name(LOCK)
    if not path.parent.is_dir():
        raise RunFolderError("There is no such folder.", where=str(path.parent), fix="name a run folder")
    if place.is_symlink() or path.is_symlink():
        raise RunFolderError(
            "The findings log or its lock is a link.", where=str(place), fix="remove the link"
        )
    with output_errors(path):
        lock = FileLock(place)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout as error:
            raise OutputError(
                "Another process is writing the findings log.", where=str(path), fix="wait and try again"
            ) from error
    try:
        yield
    finally:
        lock.release()


def _sync_folder(folder: Path) -> None:
    """Makes a rename last through a loss of power."""
    with output_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


ASIDE = "compare it with a copy; nothing is added to a broken log: move it aside to begin a new one"
