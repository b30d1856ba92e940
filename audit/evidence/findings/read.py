"""Reads the log: every line whole and valid, the chain checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from audit.errors import RunFolderError
from audit.evidence.findings.entry import Finding
from audit.evidence.findings.state import Findings

FINDINGS = "findings.jsonl"
GENESIS = "0" * 64
"""What the first line names as the line before it."""
LARGEST_LINE, LARGEST_LOG = 65_536, 16 * 2**20
"""Bytes of one line and of the whole log; what is larger is refused on reading and on writing."""
ASIDE = "compare it with a copy; nothing is added to a broken log: move it aside to begin a new one"


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
            problem = first_complaint(error)
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


def first_complaint(error: ValidationError) -> str:
    """The first complaint in one line, without what was given: that may be 10 MB long."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{field}: {said}" if field else said


def _sha256(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
