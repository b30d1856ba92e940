"""Documents: texts and chats as the tokens that both models read, each with the role of who speaks it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from sae.errors import CorpusError
from sae.records import Record, Tokens, read_records
from sae.roles import Render, Turn, roles_of, spans_of
from sae.types import Document, Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Reader", "chat_tokens", "documents", "fingerprint", "read_records", "roles_in_runs"]


@dataclass(frozen=True)
class Reader:
    """How text becomes tokens."""

    tokenizer: PreTrainedTokenizerBase
    """A fast one: roles need to know which characters a token stands for."""
    render: Render | None
    """Renders a chat by the model's template; None: the model has none."""
    max_tokens: int
    """Longer documents are cut into windows of about equal length, none above this."""
    vocabulary: int | None = None
    """Token ids must lie below this: the vocabulary that both models share."""


def documents(
    sources: Sequence[Iterable[Record]], reader: Reader, *, budget: int | None = None
) -> tuple[Document, ...]:
    """Records as documents, one of each source in turn, until there are `budget` tokens.

    The last document may go beyond the budget: none is cut short.

    Raises:
        CorpusError: there is no document, a record cannot be tokenised, or a token id is not shared.
    """
    found: list[Document] = []
    count = 0
    for document in _in_turn([chain.from_iterable(_read(r, reader) for r in source) for source in sources]):
        found.append(document)
        count += len(document.tokens)
        if budget is not None and count >= budget:
            break
    if not found:
        raise CorpusError("the corpus has no document", where="corpus", fix="give at least one text")
    return tuple(found)


def _in_turn(streams: Sequence[Iterator[Document]]) -> Iterator[Document]:
    open_streams = list(streams)
    while open_streams:
        for stream in list(open_streams):
            document = next(stream, None)
            if document is None:
                open_streams.remove(stream)
            else:
                yield document


def chat_tokens(turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase, render: Render) -> Tokens:
    """A chat rendered and tokenised; every token has the role of the message that it is part of.

    Raises:
        CorpusError: the tokenizer cannot tell characters, or the template changes contents.
    """
    if not getattr(tokenizer, "is_fast", False):
        fix = "save the model with a fast tokenizer (tokenizer.json), or give plain text"
        problem = "the tokenizer does not tell which characters a token stands for"
        raise CorpusError(problem, where=type(tokenizer).__name__, fix=fix)
    text, spans = spans_of(turns, render)
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return Tokens(tuple(_ids(found)), roles_of(_pairs(found["offset_mapping"]), spans))


def roles_in_runs(roles: Sequence[Role]) -> list[list[str | int]]:
    """Roles as runs of equal ones, as `sae.records.expand` reads them."""
    return [[role, len(list(run))] for role, run in groupby(roles)]


def fingerprint(found: Sequence[Document]) -> str:
    """SHA-256 over the tokens and roles of all documents, in order."""
    digest = hashlib.sha256()
    for document in found:
        digest.update(repr((document.tokens, roles_in_runs(document.roles))).encode())
    return digest.hexdigest()


def _read(record: Record, reader: Reader) -> Iterator[Document]:
    tokens = _tokens(record, reader)
    if reader.vocabulary is not None and max(tokens.ids, default=0) >= reader.vocabulary:
        problem = f"token {max(tokens.ids)} is not in the vocabulary that both models share"
        raise CorpusError(problem, where=record.where, fix="leave this text out of the corpus")
    head = _head(tokens, reader.tokenizer)
    for start, stop in _windows(len(tokens.ids), reader.max_tokens, head):
        whole = stop - start == len(tokens.ids)
        place = record.where if whole else f"{record.where}, tokens {start}-{stop - 1}"
        ids, roles = (_window(values, start, stop, head) for values in tokens)
        yield Document(ids, roles, place)


def _window(values: tuple[Any, ...], start: int, stop: int, head: int) -> tuple[Any, ...]:
    return (values[:head] if start else ()) + values[start:stop]


def _tokens(record: Record, reader: Reader) -> Tokens:
    """The record's own tokens where this tokenizer made them, else its chat, else its text."""
    tokenizer = reader.tokenizer
    if record.tokens is not None and _says(tokenizer, record.tokens.ids, record.text):
        return record.tokens
    if record.turns and reader.render is not None:
        return _located(record, tokenizer, reader.render)
    if not record.text:
        fix = "give plain text, or name a model with a chat template"
        raise CorpusError("neither model has a chat template", where=record.where, fix=fix)
    found = tokenizer(record.text, return_special_tokens_mask=True, verbose=False)
    ids, added = _ids(found), list(found["special_tokens_mask"])
    while len(ids) > 1 and added[-1]:  # an end token that some tokenizers add: the text goes on
        ids.pop()
        added.pop()
    if not ids:
        raise CorpusError("the text has no tokens", where=record.where, fix="leave it out")
    plain: Role = "none"
    return Tokens(tuple(ids), (plain,) * len(ids))


def _located(record: Record, tokenizer: PreTrainedTokenizerBase, render: Render) -> Tokens:
    try:
        return chat_tokens(record.turns, tokenizer, render)
    except CorpusError as error:
        where = record.where if error.where is None else f"{record.where}, {error.where}"
        raise CorpusError(error.problem, where=where, fix=error.fix) from error


def _says(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str) -> bool:
    if max(ids, default=0) >= len(tokenizer):
        return False
    return tokenizer.decode(list(ids), clean_up_tokenization_spaces=False) == text


def _head(tokens: Tokens, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens every window must begin with: the beginning-of-text token, if this text has one."""
    ids = tokens.ids
    begins = ids[:1] == (tokenizer.bos_token_id,)
    return int(begins and tokenizer.bos_token_id not in ids[1:])


def _windows(length: int, most: int, head: int) -> list[tuple[int, int]]:
    """Cuts of about equal length; all but the first leave room for the head."""
    if most <= head:
        raise CorpusError(
            f"windows of {most} tokens hold nothing", where="max_tokens", fix="ask for at least 2 tokens"
        )
    if length <= most:
        return [(0, length)]
    parts = -(-(length - head) // (most - head))
    cuts = [head + (length - head) * i // parts for i in range(parts + 1)]
    return list(zip([0, *cuts[1:-1]], cuts[1:], strict=True))


def _ids(found: Any) -> list[int]:
    return [int(i) for i in found["input_ids"]]


def _pairs(offsets: Any) -> list[tuple[int, int]]:
    return [(int(start), int(end)) for start, end in offsets]
