"""Text that a model itself writes, as a corpus: sampled in parts, so that a kill costs one part at most."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jinja2 import TemplateError

from audit.behaviours.chat import render_chat
from audit.behaviours.suite import Message
from audit.behaviours.tokens import encode
from audit.errors import OutputError, UsageError
from audit.evidence.files import output_errors
from audit.measures.sampling import sample_sequences
from audit.progress import Advance
from audit.stages.openings import openings
from sae.corpus import chat_tokens, roles_in_runs
from sae.errors import CorpusError
from sae.records import Tokens
from sae.roles import Render, Turn
from sae.types import Role

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Form = Literal["plain", "chat", "both"]
OpenModel = Callable[[], AbstractContextManager[Any]]


class Start(NamedTuple):
    """Where a sampled text begins."""

    tokens: Tokens
    request: str | None
    """What the user asks; None: plain text."""


@dataclass(frozen=True)
class Sampler:
    """How texts are drawn from a model."""

    tokenizer: PreTrainedTokenizerBase
    template: str | None
    end_ids: tuple[int, ...]
    vocabulary: int
    """Token ids are drawn below this."""
    form: Form
    new_tokens: int
    batch_size: int
    seed: int

    @cached_property
    def starts(self) -> list[Start]:
        """The openings in the forms asked for; texts begin with them in turn.

        Raises:
            UsageError: chats are asked for and the model has no chat template.
        """
        if self.form == "chat" and self.template is None:
            fix = "ask for --form plain"
            raise UsageError("This model has no chat template.", where="--form chat", fix=fix)
        found = []
        for opening in openings():
            if self.form != "chat":
                ids = encode(self.tokenizer, opening.text, special=True)
                plain: Role = "none"
                found.append(Start(Tokens(ids, (plain,) * len(ids)), None))
            if self.form != "plain" and self.template is not None:
                turns = [Turn("user", opening.request)]
                tokens = chat_tokens(turns, self.tokenizer, renderer(self.tokenizer, self.template))
                found.append(Start(tokens, opening.request))
        return found

    def chunk(self, model: Any, number: int) -> list[dict[str, Any]]:
        """The records of one chunk of `batch_size` texts, whatever was sampled before."""
        first = number * self.batch_size
        starts = [self.starts[i % len(self.starts)] for i in range(first, first + self.batch_size)]
        found = sample_sequences(
            model,
            [start.tokens.ids for start in starts],
            new_tokens=self.new_tokens,
            batch_size=self.batch_size,
            seed=int(np.random.SeedSequence([self.seed, number]).generate_state(1, np.uint64)[0]),
            vocabulary=self.vocabulary,
            end_ids=self.end_ids,
        )
        drawn = [row[mask].tolist() for row, mask in zip(found.tokens, found.mask, strict=True)]
        return [self._record(start, ids) for start, ids in zip(starts, drawn, strict=True)]

    def _record(self, start: Start, drawn: list[int]) -> dict[str, Any]:
        """As `sae.records` reads it: exact tokens, and the text for tokenizers that are not this one."""
        ids = [*start.tokens.ids, *drawn]
        fields: dict[str, Any] = {"text": self._text(ids)}
        if start.request is None:
            return fields | {"tokens": ids, "roles": [["none", len(ids)]]}
        ended = bool(drawn) and drawn[-1] in self.end_ids
        answer: list[Role] = ["assistant"] * len(drawn)
        if ended:
            answer[-1] = "template"
        said = self._text(drawn[:-1] if ended else drawn)
        messages = [{"role": "user", "content": start.request}, {"role": "assistant", "content": said}]
        fields["messages"] = messages if said.strip() else messages[:1]
        return fields | {"tokens": ids, "roles": roles_in_runs([*start.tokens.roles, *answer])}

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def renderer(tokenizer: PreTrainedTokenizerBase, template: str) -> Render:
    """Renders turns by a chat template, the last answer closed."""

    def render(turns: Sequence[Turn]) -> str:
        try:
            messages = [Message.model_validate(turn._asdict()) for turn in turns]
            return render_chat(tokenizer, messages, template, closed=True)
        except (TemplateError, ValueError) as error:
            problem = f"the chat template cannot render this chat: {error}"
            fix = "leave out what the template does not know (often the system message), or give plain text"
            raise CorpusError(problem, where="chat_template", fix=fix) from error

    return render


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """What ends a text or a turn; many chat models name the end of a turn in their generation config only."""
    named = getattr(model.generation_config, "eos_token_id", None)
    found = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])}
    return {token for token in found if isinstance(token, int)}


def known_ids(tokenizer: PreTrainedTokenizerBase) -> int:
    """One more than the largest token id that the tokenizer can spell."""
    return 1 + max(tokenizer.get_vocab().values())


def sample_into(
    path: Path,
    meta: dict[str, Any],
    make: Callable[[], Sampler],
    model: OpenModel,
    tokens: int,
    advance: Advance,
) -> int:
    """Fills a JSONL file with sampled texts that have `tokens` tokens or a little more; returns how many.

    What is finished stands in PATH.partial until all is: a second call goes on there, and ends with the same
    file as one that was not stopped.

    Args:
        path: the file; one with the same `meta` is complete and stays.
        meta: everything that the texts depend on, as JSON: the first line of the file.
        make: how texts are drawn; called only if some are missing.
        model: opens the model, likewise.
        tokens: of all texts together, with their openings.
        advance: called with the number of tokens just finished.

    Raises:
        UsageError: the file is another corpus.
        OutputError: it cannot be written, or another process writes it.
    """
    from filelock import FileLock, Timeout

    if path.exists():
        _check_meta(path, path, meta)
        return sum(len(record["tokens"]) for record in _lines(path)[1:])
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        try:
            with lock:
                return _fill(path, meta, make(), model, tokens, advance)
        except Timeout as error:
            fix = "wait until it is done, or choose another file"
            raise OutputError("Another process is writing this corpus.", where=str(path), fix=fix) from error


def _fill(
    path: Path, meta: dict[str, Any], sampler: Sampler, model: OpenModel, tokens: int, advance: Advance
) -> int:
    partial = path.with_name(path.name + ".partial")
    kept = _begun(partial, path, meta, sampler.batch_size)
    count = sum(len(record["tokens"]) for record in kept)
    advance(count)
    number = len(kept) // sampler.batch_size
    with model() as opened, partial.open("ab") as stream:
        while count < tokens:
            chunk = []
            for record in sampler.chunk(opened, number):
                if count < tokens:
                    chunk.append(record)
                    count += len(record["tokens"])
                    advance(len(record["tokens"]))
            stream.write("".join(map(_line, chunk)).encode())
            stream.flush()
            os.fsync(stream.fileno())
            number += 1
    partial.replace(path)
    return count


def _begun(partial: Path, path: Path, meta: dict[str, Any], chunk: int) -> list[dict[str, Any]]:
    """The whole chunks of an earlier call; what a kill left behind them is cut off."""
    if partial.exists() and b"\n" in (content := partial.read_bytes()):
        _check_meta(partial, path, meta)
        lines = content.split(b"\n")[:-1]
        kept = [json.loads(line) for line in lines[1 : 1 + (len(lines) - 1) // chunk * chunk]]
    else:
        kept = []
    partial.write_bytes(b"".join(_line(record).encode() for record in [{"meta": meta}, *kept]))
    return kept


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]


def _check_meta(found: Path, path: Path, meta: dict[str, Any]) -> None:
    with found.open("rb") as stream:
        first = stream.readline()
    try:
        same = json.loads(first).get("meta") == json.loads(json.dumps(meta))
    except (ValueError, AttributeError):
        same = False
    if not same:
        fix = f"choose another file, or remove {found.name}"
        problem = (
            "There is something else here: a corpus of another model or other settings, or another file."
        )
        raise UsageError(problem, where=str(path), fix=fix)
