"""The suite file: one JSON object a line, read with errors that name line and field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from audit.behaviours.checks import Flaw, first_flaw
from audit.behaviours.shipped import builtin_suites
from audit.behaviours.suite import Card, Concept, ConceptText, Item, Suite
from audit.errors import SuiteError

Part = TypeVar("Part", bound=BaseModel)
PARTS = ("card", "item", "concept", "concept_text")


@dataclass
class _Parts:
    cards: list[Card] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    concepts: list[Concept] = field(default_factory=list)
    texts: list[ConceptText] = field(default_factory=list)
    lines: dict[tuple[str, int], int] = field(default_factory=dict)


def read_suite(path: Path) -> Suite:
    """The suite in a JSONL file (format: docs/behaviours.md).

    Raises:
        SuiteError: names the file, the line, the field, and what to do.
    """
    parts = _Parts()
    for number, text in text_lines(path):
        _add(parts, number, f"{path}:{number}", _part(text, f"{path}:{number}"))
    if not parts.cards:
        raise SuiteError(
            "The suite file has no card.", where=str(path), fix=f'begin it with {{"card": {_DOTS}}}'
        )
    if parts.texts and not parts.concepts:
        where = f"{path}:{parts.lines['concept_text', 0]}"
        raise SuiteError("A concept text without a concept.", where=where, fix='add a {"concept": ...} line')
    concept = parts.concepts[0].model_copy(update={"texts": tuple(parts.texts)}) if parts.concepts else None
    if flaw := first_flaw(parts.cards[0], parts.items, concept):
        raise SuiteError(flaw.problem, where=_place(path, parts, flaw), fix=flaw.fix)
    return Suite(card=parts.cards[0], items=tuple(parts.items), concept=concept)


_DOTS = "{...}"


def _place(path: Path, parts: _Parts, flaw: Flaw) -> str:
    return f"{path}:{parts.lines[flaw.part, flaw.index]}, field {flaw.field!r}"


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, with their numbers from 1.

    Raises:
        SuiteError: the file is missing, empty, a folder, unreadable or not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        fix = f"give the path of a suite file, or one of the built-in suites: {', '.join(builtin_suites())}"
        raise SuiteError("There is no such suite.", where=str(path), fix=fix) from error
    except IsADirectoryError as error:
        fix = "give one JSONL file; folders are read only behind a loader such as bbq:"
        raise SuiteError("The suite is a folder, not a file.", where=str(path), fix=fix) from error
    except UnicodeDecodeError as error:
        where = f"{path}, byte {error.start}"
        raise SuiteError("The suite file is not UTF-8 text.", where=where, fix="save it as UTF-8") from error
    except OSError as error:
        fix = "check that it is a plain file that you may read"
        problem = f"The suite file cannot be read: {error.strerror}."
        raise SuiteError(problem, where=str(path), fix=fix) from error
    if not text.strip():
        raise SuiteError(
            "The suite file is empty.", where=str(path), fix="see docs/behaviours.md for the format"
        )
    # Not splitlines(): JSON strings may hold U+2028 and the like, which are no line ends of a JSONL file.
    return ((i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip())


def json_line(text: str, where: str) -> object:
    """The value in one line of a JSONL file.

    Raises:
        SuiteError: the line is not strict JSON, or gives a field twice.
    """
    try:
        found: object = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except json.JSONDecodeError as error:
        problem = f"The line is not JSON: {error.msg}."
        fix = "write one complete JSON object a line"
        raise SuiteError(problem, where=f"{where}, column {error.colno}", fix=fix) from error
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"The line is not JSON: {error}.", where=where, fix="correct the value") from error
    return found


def _part(text: str, where: str) -> dict[str, Any]:
    found = json_line(text, where)
    if not isinstance(found, dict) or len(found) != 1 or next(iter(found)) not in PARTS:
        fix = 'write {"card": {...}}, {"item": {...}}, {"concept": {...}} or {"concept_text": {...}}'
        raise SuiteError("The line is no part of a suite.", where=where, fix=fix)
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is given twice")
    return found


def _add(parts: _Parts, number: int, where: str, line: dict[str, Any]) -> None:
    ((kind, content),) = line.items()
    if kind == "card":
        _only_one(parts.cards, "card", where)
        parts.cards.append(parse(Card, content, where))
    elif not parts.cards:
        raise SuiteError(
            "The first line is not the card.", where=where, fix=f'begin with {{"card": {_DOTS}}}'
        )
    elif kind == "item":
        parts.items.append(parse(Item, content, where))
    elif kind == "concept":
        _only_one(parts.concepts, "concept", where)
        parts.concepts.append(parse(Concept, content, where))
    else:
        parts.texts.append(parse(ConceptText, content, where))
    index = {"item": len(parts.items) - 1, "concept_text": len(parts.texts) - 1}.get(kind, 0)
    parts.lines[kind, index] = number


def _only_one(found: list[Any], kind: str, where: str) -> None:
    if found:
        fix = f"keep one {kind} a file; a second suite is a second file"
        raise SuiteError(f"A second {kind} in one suite file.", where=where, fix=fix)


def parse(model: type[Part], content: object, where: str, *, strict: bool = True) -> Part:
    """The content as a checked record.

    Raises:
        SuiteError: names the field that is wrong, and what is wrong with it.
    """
    try:
        return model.model_validate_json(json.dumps(content), strict=strict)
    except ValidationError as error:
        first = error.errors()[0]
        steps = [str(step) for step in first["loc"]]
        message = first["msg"].removeprefix("Value error, ")
        if not steps and ": " in message:
            name, _, message = message.partition(": ")
            steps = [name]
        fix = _fixes(first["type"], model)
        problem = f"The suite file has a wrong value: {message[0].lower()}{message[1:]}."
        place = f"{where}, field {'.'.join(steps)!r}" if steps else where
        raise SuiteError(problem, where=place, fix=fix) from error


def _fixes(kind: str, model: type[BaseModel]) -> str:
    if kind == "extra_forbidden":
        return f"remove it, or use one of: {', '.join(model.model_fields)}"
    if kind == "missing":
        return "add the field; docs/behaviours.md says what it means"
    return "correct the value; docs/behaviours.md says what the field means"
