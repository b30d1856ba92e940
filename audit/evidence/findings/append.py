"""Adds a line to the log: it is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audit.errors import OutputError, RunFolderError, UsageError
from audit.evidence.files import output_errors, replacing
from audit.evidence.findings import read
from audit.evidence.findings.entry import Entry, Finding
from audit.evidence.findings.read import ASIDE, check_chain, first_complaint, read_findings
from audit.evidence.findings.state import Findings, FindingState

LOCK = ".findings.lock"
PATIENCE = 10.0
"""Seconds to wait for another writer."""


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
        if len(text) > read.LARGEST_LINE or len(before) + len(text) > read.LARGEST_LOG:
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
            f"The entry is wrong: {first_complaint(error)}.", fix="mend this field; nothing was written"
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
