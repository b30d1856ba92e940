"""Texts and chats as they are stored: text files, JSONL files and data sets of the hub."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from sae.errors import CorpusError
from sae.roles import Turn
from sae.types import ROLES, Role

HUB = "hub:"
Speaker = Literal["system", "user", "assistant"]
SPEAKERS: tuple[str, ...] = get_args(Speaker)
FORMS = (
    "name a .txt file (FILE#paragraphs: each paragraph on its own), a .jsonl file (or .jsonl.gz) with "
    '{"text": ...} or {"messages": [...]} on each line, or hub:ORG/NAME[@revision][#config][:split][:column]'
)


class Tokens(NamedTuple):
    """Tokens that a text was sampled as; another tokenizer reads the text instead."""

    ids: tuple[int, ...]
    roles: tuple[Role, ...]


@dataclass(frozen=True)
class Record:
    """One text or chat of a corpus."""

    where: str
    """Corpus and place, for people."""
    text: str = ""
    turns: tuple[Turn, ...] = ()
    """The messages of a chat; empty for plain text."""
    tokens: Tokens | None = None


class HubAddress(NamedTuple):
    """A data set on the hub."""

    name: str
    revision: str | None
    config: str | None
    split: str
    column: str | None


def read_records(entry: str) -> Iterator[Record]:
    """The texts and chats that an entry of the corpus setting names, one after the other.

    Only `hub:` asks the network.

    Raises:
        CorpusError: names the file, the line, and what to do.
    """
    if entry.startswith(HUB):
        return _from_hub(parse_hub(entry))
    place, mark, unit = entry, "", ""
    if not Path(entry).exists():
        place, mark, unit = entry.partition("#")
    path = Path(place).expanduser()
    if path.name.endswith((".jsonl", ".jsonl.gz")) and not mark:
        return jsonl_records(_text_of(path), str(path))
    if path.suffix == ".txt" and unit in ("", "paragraphs"):
        return _text_records(path, paragraphs=bool(unit))
    raise CorpusError("this is no kind of corpus that can be read", where=entry, fix=FORMS)


def jsonl_records(text: str, name: str) -> Iterator[Record]:
    """The records of a JSONL text; a first line that only describes the corpus (`meta`) is passed over.

    Raises:
        CorpusError: a line is not what it should be; it is named.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        fields = _object(line, where)
        if "meta" not in fields:
            yield record_of(fields, where)


def record_of(fields: dict[str, Any], where: str) -> Record:
    """One record from its JSON fields: `messages`, or `text`; and `tokens` with `roles`, if it was sampled.

    Raises:
        CorpusError: fields are missing or of the wrong kind.
    """
    text, messages = fields.get("text"), fields.get("messages")
    if messages is not None:
        record = Record(where, text if isinstance(text, str) else "", turns_of(messages, where))
    elif isinstance(text, str) and text.strip():
        record = Record(where, text)
    else:
        raise CorpusError("the line has neither a text nor messages", where=where, fix=FORMS)
    if record.text and "tokens" in fields:
        record = replace(record, tokens=_tokens_of(fields, where))
    return record


def turns_of(messages: Any, where: str) -> tuple[Turn, ...]:
    """Messages with role and content, checked.

    Raises:
        CorpusError: a message is malformed; it is named.
    """
    fix = 'write {"messages": [{"role": "user", "content": "..."}, ...]} with roles system, user, assistant'
    if not isinstance(messages, list) or not messages:
        raise CorpusError("messages must be a list of at least one message", where=where, fix=fix)
    for number, message in enumerate(messages, 1):
        at = f"{where}, message {number}"
        if not isinstance(message, dict) or message.get("role") not in SPEAKERS:
            raise CorpusError(f"a message needs a role of {', '.join(SPEAKERS)}", where=at, fix=fix)
        content = message.get("content")
        if not isinstance(content, str) or not content.strip():
            raise CorpusError("a message needs a content that is text", where=at, fix=fix)
    return tuple(Turn(message["role"], message["content"]) for message in messages)


def parse_hub(entry: str) -> HubAddress:
    """Takes `hub:ORG/NAME[@revision][#config][:split][:column]` apart.

    Raises:
        CorpusError: a part is empty, or there are too many.
    """
    place, *rest = entry.removeprefix(HUB).split(":")
    place, hash_mark, config = place.partition("#")
    name, at, revision = place.partition("@")
    if not name.strip() or (hash_mark and not config) or (at and not revision) or len(rest) > 2 or "" in rest:
        raise CorpusError("the address of the data set is incomplete", where=entry, fix=FORMS)
    split, column = (*rest, None, None)[:2]
    return HubAddress(name, revision or None, config or None, split or "train", column)


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"{path}, byte {error.start}"
        raise CorpusError("the file is not UTF-8 text", where=where, fix="save it as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        problem = f"the corpus cannot be read: {getattr(error, 'strerror', None) or error}"
        raise CorpusError(problem, where=str(path), fix=f"check the path; {FORMS}") from error
    if not text.strip():
        raise CorpusError("the corpus is empty", where=str(path), fix="give a file with text in it")
    return text


def _text_records(path: Path, *, paragraphs: bool) -> Iterator[Record]:
    text = _text_of(path)
    if not paragraphs:
        yield Record(str(path), text)
        return
    block: list[str] = []
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.strip():
            block.append(line)
        elif block:
            yield Record(f"{path}:{number - len(block)}", "\n".join(block))
            block = []


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"the line is not JSON: {error}", where=where, fix=FORMS) from error
    if not isinstance(fields, dict):
        raise CorpusError("the line is no JSON object", where=where, fix=FORMS)
    return fields


def _tokens_of(fields: dict[str, Any], where: str) -> Tokens:
    ids, runs = fields["tokens"], fields.get("roles", [])
    fix = "leave tokens and roles out: the text is then read afresh"
    if not isinstance(ids, list) or not all(isinstance(i, int) and i >= 0 for i in ids):
        raise CorpusError("tokens must be a list of token ids", where=where, fix=fix)
    try:
        roles = expand(runs)
    except (TypeError, ValueError) as error:
        problem = 'roles must be a list of pairs such as ["user", 12]'
        raise CorpusError(problem, where=where, fix=fix) from error
    if len(roles) != len(ids):
        raise CorpusError(f"{len(ids)} tokens, but {len(roles)} roles", where=where, fix=fix)
    return Tokens(tuple(ids), roles)


def expand(runs: Iterable[Iterable[Any]]) -> tuple[Role, ...]:
    """Roles token by token, from runs of equal ones: [["user", 2], ["template", 1]].

    Raises:
        ValueError: an unknown role.
    """
    pairs = [(str(role), int(count)) for role, count in runs]
    if unknown := {role for role, _ in pairs} - set(ROLES):
        raise ValueError(f"unknown roles {sorted(unknown)}")
    return tuple(cast(Role, role) for role, count in pairs for _ in range(count))


def _from_hub(address: HubAddress) -> Iterator[Record]:
    import datasets
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its HTTP library

    where = f"{HUB}{address.name}"
    try:
        rows = datasets.load_dataset(
            address.name, address.config, split=address.split, revision=address.revision, streaming=True
        )
        for number, row in enumerate(rows):
            yield _hub_record(row, address.column, f"{where}:{address.split}, row {number}")
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        fix = "check the id, revision, config and split, and the network; or download it and give a .jsonl"
        raise CorpusError(f"the data set cannot be read: {reason}", where=where, fix=fix) from error


def _hub_record(row: dict[str, Any], column: str | None, where: str) -> Record:
    if column is None:
        return record_of({name: row[name] for name in ("text", "messages") if row.get(name)}, where)
    if column not in row:
        names = ", ".join(sorted(row))
        raise CorpusError(f"there is no column {column!r}", where=where, fix=f"name one of: {names}")
    value = row[column]
    return record_of({"messages" if isinstance(value, list) else "text": value}, where)
