"""Reads a policy file: refuses what it does not understand, and says in which line."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from audit.errors import UsageError
from audit.gate.rules import AnyRule, Policy

LARGEST_POLICY, LONGEST_LINE = 65_536, 1_000
"""Bytes of the file and characters of a line: a policy is written by hand, and the time that the TOML parser
needs for a key of many parts grows with the square of its length."""
HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z_.\s]+?)\s*\]\]?\s*(#.*)?$")


@dataclass(frozen=True)
class PolicyFile:
    """A policy, where it was read, and what its bytes were."""

    path: str
    sha256: str
    policy: Policy
    lines: tuple[int, ...]
    """Line at which each rule begins, from 1."""

    def name_of(self, rule: AnyRule) -> str:
        """What the outcome calls a rule: its name, or its kind and place."""
        place = next(place for place, one in enumerate(self.policy.rule, start=1) if one is rule)
        return rule.name or f"{rule.kind} (rule {place})"

    def line_of(self, rule: AnyRule) -> int:
        """Line at which a rule begins."""
        return next(line for one, line in zip(self.policy.rule, self.lines, strict=True) if one is rule)


def read_policy(path: Path) -> PolicyFile:
    """The policy in a file.

    Raises:
        UsageError: it is missing, no TOML, too large, empty, or asks for what no rule can be.
    """
    raw = _bytes(path)
    text = _text(raw, path)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"The policy is no TOML: {_short(str(error))}.", where=str(path), fix="mend that line"
        ) from error
    except RecursionError as error:
        raise UsageError(
            "The policy is nested too deeply.", where=str(path), fix="write it as docs/gate.md shows"
        ) from error
    if not found.get("rule"):
        raise UsageError(
            "The policy has no rules, so that nothing could ever violate it.",
            where=str(path),
            fix="add a [[rule]]: see docs/gate.md and examples/policies",
        )
    try:
        policy = Policy.model_validate(found)
    except ValidationError as error:
        raise _refused(error, text, path) from error
    return PolicyFile(str(path), hashlib.sha256(raw).hexdigest(), policy, _rule_lines(text, len(policy.rule)))


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UsageError("There is no such policy file.", where=str(path), fix="name a TOML file")
        with path.open("rb") as stream:
            raw = stream.read(LARGEST_POLICY + 1)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The policy cannot be read: {error}.", where=str(path)[:300], fix="name a TOML file"
        ) from error
    if len(raw) > LARGEST_POLICY:
        raise UsageError(
            f"The policy is larger than {LARGEST_POLICY // 1024} KiB.", where=str(path), fix="shorten it"
        )
    return raw


def _text(raw: bytes, path: Path) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The policy is no UTF-8 text: byte {error.start} is wrong.",
            where=str(path),
            fix="save it as UTF-8",
        ) from error
    long = next((n for n, line in enumerate(text.split("\n"), start=1) if len(line) > LONGEST_LINE), None)
    if long is not None:
        raise UsageError(
            f"A line of the policy is longer than {LONGEST_LINE:,} characters.",
            where=f"{path}: line {long}",
            fix="shorten it, or write its list on several lines",
        )
    return text


def _refused(error: ValidationError, text: str, path: Path) -> UsageError:
    first = error.errors(include_url=False, include_input=False)[0]
    place = list(first["loc"])
    if place[:1] == ["rule"]:
        del place[2:3]  # pydantic puts the kind of rule between its number and its field
    line = _line_of(text, place)
    said = str(first["msg"]).removeprefix("Value error, ")
    field = ".".join(_numbered(part) for part in place) or "the policy"
    return UsageError(
        f"The policy asks for what cannot be: {_short(field)}: {_short(said)}.",
        where=str(path) if line is None else f"{path}: line {line}",
        fix="mend this field: docs/gate.md lists what each kind of rule knows",
    )


def _numbered(part: object) -> str:
    return f"{part + 1}" if isinstance(part, int) else str(part)


def _line_of(text: str, place: Sequence[object]) -> int | None:
    """Line of a field, by its address; of its table where the field itself is not written there."""
    lines = text.split("\n")
    start, end = 0, len(lines)
    names = list(place)
    if len(names) > 1 and names[0] == "rule" and isinstance(names[1], int):
        starts = [*_headers(lines, "rule"), len(lines)]
        if names[1] + 1 >= len(starts):
            return None
        start, end, names = starts[names[1]], starts[names[1] + 1], names[2:]
    elif len(names) > 1 and names[0] == "run":
        start, names = next(iter(_headers(lines, "run")), 0), names[1:]
    if names and isinstance(names[0], str):
        assigned = re.compile(rf"""\s*["']?{re.escape(names[0])}["']?\s*=""")
        for number in range(start, end):
            if assigned.match(lines[number]):
                return number + 1
    return start + 1 if start else None


def _headers(lines: Sequence[str], table: str) -> list[int]:
    matches = ((number, HEADER.match(line)) for number, line in enumerate(lines) if len(line) < 200)
    return [number for number, match in matches if match and match[1] == table]


def _rule_lines(text: str, count: int) -> tuple[int, ...]:
    """Where the rules begin; the first line for all of them where they are written in another way."""
    found = [number + 1 for number in _headers(text.split("\n"), "rule")]
    return tuple(found) if len(found) == count else (1,) * count


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text):,} characters)"
