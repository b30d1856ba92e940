"""The text on which an audit compares what two models represent: the user's, or their own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import UsageError
from audit.evidence.files import sha256_file, sha256_json, write_text
from audit.inputs import AuditInputs
from audit.sample import FORMAT, sae_errors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from audit.sampling import Sampler
    from sae.corpus import Reader
    from sae.records import Record
    from sae.types import Document, Side

SIDES: tuple[Side, Side] = ("base", "tuned")
SHIPPED = ("embedded-base.jsonl.gz", "embedded-tuned.jsonl.gz")
"""Samples of the embedded pair that ship: an audit of these models samples only what is missing."""
MAX_TOKENS = 256
"""Longer documents are cut into windows of at most this many tokens."""
TEXT_TOKENS = 128
"""Most tokens sampled per text."""


@dataclass(frozen=True)
class Corpus:
    """The documents that both models of an audit read."""

    documents: tuple[Document, ...]
    description: str
    """One sentence: what it is and where from."""
    sha256: str
    """Over tokens and roles of all documents."""


def corpus(audit: AuditInputs, cache: Path) -> Corpus:
    """The corpus of an audit: `audit.config.corpus`, else text sampled from both models, half each.

    Args:
        audit: settings and models; the models are opened only if text has to be sampled.
        cache: folder in which the corpus is kept, so that no text is sampled or fetched twice. One that was
            filled by an audit of other models or settings is filled again.

    Raises:
        AuditError: a corpus cannot be read, or holds no text for these models.
    """
    key, path = corpus_key(audit), cache / "documents.jsonl"
    found = _kept(path, key)
    if found is None:
        with sae_errors():
            texts = _Texts(audit)
            found = texts.read() if audit.config.corpus else texts.sampled(cache)
        _keep(path, key, found)
    return found


def corpus_key(audit: AuditInputs) -> dict[str, Any]:
    """What the corpus depends on, as JSON: for the keys of the stages that read it."""
    config = audit.config
    return {
        "base": audit.base.identity,
        "tuned": audit.tuned.identity,
        "tokens": audit.preset.corpus_tokens,
        "entries": [[entry, _digest(entry)] for entry in config.corpus],
        "sampling": [config.seed, config.dtype, config.device, config.batch_size, TEXT_TOKENS],
        "windows": MAX_TOKENS,
        "format": FORMAT,
    }


def check_corpus(entries: tuple[str, ...]) -> None:
    """Reads every file of the setting once, so that a bad line is found before an audit begins.

    Data sets of the hub are not asked for: only the spelling of their names is checked.

    Raises:
        AuditError: a file cannot be read; the line is named.
    """
    from sae.records import HUB, parse_hub, read_records

    with sae_errors():
        for entry in entries:
            if entry.startswith(HUB):
                parse_hub(entry)
            elif not list(read_records(entry)):
                raise UsageError("The corpus has no text in it.", where=entry, fix="give a file with text")


def shipped_sample(name: str = SHIPPED[0]) -> bytes:
    """A shipped sample, of the embedded base by default, as JSONL."""
    return gzip.decompress((resources.files("audit.sampled_text") / name).read_bytes())


def _digest(entry: str) -> str | None:
    """Hash of a local file; what the hub gives is not known before it is asked."""
    path = Path(entry if Path(entry).is_file() else entry.partition("#")[0])
    return sha256_file(path) if path.is_file() else None


@dataclass
class _Texts:
    """How the texts of one audit are read and written."""

    audit: AuditInputs

    def read(self) -> Corpus:
        """The user's corpora, one document of each in turn."""
        from sae.corpus import documents
        from sae.errors import CorpusError
        from sae.records import read_records

        entries, budget = self.audit.config.corpus, self.audit.preset.corpus_tokens

        def read(tokenizer: PreTrainedTokenizerBase) -> tuple[Document, ...]:
            records = [read_records(entry) for entry in entries]
            return documents(records, self._reader(tokenizer), budget=budget)

        origin = f"from {', '.join(entries)}"
        with suppress(CorpusError):  # the tuned model may have tokens of its own; the base spells them out
            return _described(read(self.tokenizers["tuned"]), origin)
        return _described(read(self.tokenizers["base"]), origin)

    def sampled(self, cache: Path) -> Corpus:
        """Text of either model, one text of each in turn."""
        from sae.corpus import documents

        half = -(-self.audit.preset.corpus_tokens // 2)
        records = [self._own(side, half, cache) for side in SIDES]
        found = documents(records, self._reader(self._tokenizer), budget=2 * half)
        return _described(found, "sampled from the base and from the tuned model in turn, plain and as chats")

    def _own(self, side: Side, tokens: int, cache: Path) -> list[Record]:
        """Text of one model: of the embedded pair what ships, and what is missing sampled."""
        from audit.sampling import sample_into
        from sae.records import jsonl_records

        records = list(_shipped_for(self.audit, side))
        missing = tokens - sum(len(record.tokens.ids) for record in records if record.tokens)
        if missing > 0:
            meta = corpus_key(self.audit) | {"side": side, "missing": missing}
            path = cache / f"{side}-{sha256_json(meta)[:8]}.jsonl"
            with self.audit.progress.task(f"Sampling text from the {side} model", missing) as advance:
                opened = partial(self.audit.pair.model, side)
                sample_into(path, meta, partial(self._sampler, side), opened, missing, advance)
            records += jsonl_records(path.read_text(encoding="utf-8"), f"sampled from the {side} model")
        return records

    def _sampler(self, side: Side) -> Sampler:
        import numpy as np

        from audit.sampling import Sampler, end_ids, known_ids

        audit, ends = self.audit, set[int]()
        for each in SIDES:
            with audit.pair.model(each) as model:
                ends |= end_ids(model, self.tokenizers[each])
        own = [audit.config.seed, SIDES.index(side)]  # the same numbers would give nearly the same texts
        return Sampler(
            tokenizer=self._tokenizer,
            template=self._template,
            end_ids=tuple(sorted(ends)),
            vocabulary=min(audit.preflight.shared_vocabulary, known_ids(self._tokenizer)),
            form="both",
            new_tokens=TEXT_TOKENS,
            batch_size=audit.config.batch_size,
            seed=int(np.random.SeedSequence(own).generate_state(1, np.uint64)[0]),
        )

    @cached_property
    def tokenizers(self) -> dict[Side, PreTrainedTokenizerBase]:
        from audit.pair.tokens import load_tokenizer

        return {"base": load_tokenizer(self.audit.base), "tuned": load_tokenizer(self.audit.tuned)}

    @cached_property
    def _template(self) -> str | None:
        """The tuned model's, for its chat format is the one in use."""
        templates = [self.tokenizers[side].chat_template for side in ("tuned", "base")]
        return next((template for template in templates if isinstance(template, str) and template), None)

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        """The tuned model's, unless it spells openings with tokens that the base cannot read."""
        from audit.stages.openings import openings, starts

        begun = starts(self.tokenizers["tuned"], self._template, 2 * len(openings()))
        readable = all(max(ids) < self.audit.preflight.shared_vocabulary for _, ids in begun)
        return self.tokenizers["tuned" if readable else "base"]

    def _reader(self, tokenizer: PreTrainedTokenizerBase) -> Reader:
        from audit.pair.architecture import load_config
        from audit.sampling import renderer
        from sae.corpus import Reader

        base, template = self.audit.base, self._template
        config = load_config(base.folder, allow_code=base.remote_code).get_text_config()
        room = getattr(config, "max_position_embeddings", None) or MAX_TOKENS
        render = None if template is None else renderer(tokenizer, template)
        return Reader(tokenizer, render, min(MAX_TOKENS, room), self.audit.preflight.shared_vocabulary)


def _shipped_for(audit: AuditInputs, side: Side) -> Iterator[Record]:
    from sae.records import jsonl_records

    identity = (audit.base if side == "base" else audit.tuned).identity
    for name in SHIPPED:
        text = shipped_sample(name).decode()
        meta = json.loads(text.partition("\n")[0])["meta"]
        if meta["identity"] == identity:
            yield from jsonl_records(text, f"sampled from {meta['model']}")


def _described(found: tuple[Document, ...], origin: str) -> Corpus:
    from sae.corpus import fingerprint

    count = sum(len(document.tokens) for document in found)
    return Corpus(found, f"{count:,} tokens in {len(found):,} texts, {origin}", fingerprint(found))


def _keep(path: Path, key: dict[str, Any], found: Corpus) -> None:
    from sae.corpus import roles_in_runs

    head = {"key": key, "description": found.description, "sha256": found.sha256}
    rows = [
        {"source": d.source, "tokens": list(d.tokens), "roles": roles_in_runs(d.roles)}
        for d in found.documents
    ]
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [head, *rows]))


def _kept(path: Path, key: dict[str, Any]) -> Corpus | None:
    """The corpus of an earlier call, if it is whole and of the same audit."""
    from sae.corpus import fingerprint
    from sae.records import expand
    from sae.types import Document

    if not path.is_file():
        return None
    with suppress(ValueError, KeyError, TypeError):
        head, *rows = map(json.loads, path.read_text(encoding="utf-8").rstrip("\n").split("\n"))
        found = tuple(Document(tuple(r["tokens"]), expand(r["roles"]), r["source"]) for r in rows)
        if head["key"] == key and fingerprint(found) == head["sha256"]:
            return Corpus(found, head["description"], head["sha256"])
    return None
