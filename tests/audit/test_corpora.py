from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit import corpora
from audit.config import CompareConfig
from audit.errors import AuditError
from audit.inputs import AuditInputs
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.presets import PRESETS
from audit.sampling import Sampler

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def small_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "quick", replace(PRESETS["quick"], corpus_tokens=800))
    monkeypatch.setattr(corpora, "TEXT_TOKENS", 10)


def opened(base: object, tuned: object, **settings: Any) -> AuditInputs:
    sides = [resolve(str(reference), LoadOptions()) for reference in (base, tuned)]
    config = CompareConfig(base=str(base), tuned=str(tuned), preset="quick", **settings)
    return AuditInputs(config, sides[0], sides[1], compare(*sides), ())


def sampled_chunks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    chunk = Sampler.chunk

    def counted(self: Sampler, model: Any, number: int) -> Any:
        calls.append(number)
        return chunk(self, model, number)

    monkeypatch.setattr(Sampler, "chunk", counted)
    return calls


def test_by_default_each_model_writes_half(tiny_model: Make, tmp_path: Path) -> None:
    audit = opened(tiny_model(), tiny_model(seed=1))
    found = corpora.corpus(audit, tmp_path)
    sources = [document.source.partition(":")[0] for document in found.documents]
    assert sources[:4] == ["sampled from the base model", "sampled from the tuned model"] * 2
    for side in ("base", "tuned"):
        own = [d for d in found.documents if side in d.source]
        assert 300 <= sum(len(d.tokens) for d in own) <= 500
    roles = {role for document in found.documents for role in document.roles}
    assert roles == {"none", "user", "assistant", "template"}
    assert max(t for d in found.documents for t in d.tokens) < audit.preflight.shared_vocabulary
    texts = {d.tokens for d in found.documents}
    assert len(texts) == len(found.documents)
    assert "half" not in found.description
    assert found.description.endswith(
        "sampled from the base and from the tuned model in turn, plain and as chats"
    )


def test_two_nearly_equal_models_do_not_write_the_same_texts(tiny_model: Make, tmp_path: Path) -> None:
    found = corpora.corpus(opened(tiny_model(), tiny_model(name="copy")), tmp_path)
    assert len({document.tokens for document in found.documents}) == len(found.documents)


def test_it_is_kept_and_no_model_is_loaded_again(
    tiny_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, tuned = tiny_model(), tiny_model(seed=1)
    first = corpora.corpus(opened(base, tuned), tmp_path)
    again = opened(base, tuned)
    assert corpora.corpus(again, tmp_path) == first
    assert "pair" not in vars(again)
    calls = sampled_chunks(monkeypatch)
    other = corpora.corpus(opened(base, tuned, seed=1), tmp_path)
    assert other.sha256 != first.sha256
    assert calls


@pytest.mark.parametrize("content", ["", "{", '{"key": 1}\n{"tokens": 3}'])
def test_a_damaged_cache_is_filled_again(tiny_model: Make, tmp_path: Path, content: str) -> None:
    audit = opened(tiny_model(), tiny_model(seed=1))
    first = corpora.corpus(audit, tmp_path)
    (tmp_path / "documents.jsonl").write_text(content)
    assert corpora.corpus(audit, tmp_path) == first


def test_a_kill_costs_the_chunk_under_way_only(
    tiny_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = opened(tiny_model(), tiny_model(seed=1), batch_size=4)
    whole = corpora.corpus(audit, tmp_path / "whole")
    calls = sampled_chunks(monkeypatch)
    counted = Sampler.chunk

    def dying(self: Sampler, model: Any, number: int) -> Any:
        if len(calls) == 5:
            raise KeyboardInterrupt
        return counted(self, model, number)

    monkeypatch.setattr(Sampler, "chunk", dying)
    with pytest.raises(KeyboardInterrupt):
        corpora.corpus(audit, tmp_path / "cut")
    before = list(calls)
    monkeypatch.setattr(Sampler, "chunk", counted)
    assert corpora.corpus(audit, tmp_path / "cut") == whole
    assert calls[5:][0] == before[-1] + 1 or calls[5:][0] == 0


def test_the_users_files_are_read_in_turn(tiny_model: Make, tmp_path: Path) -> None:
    texts, chats = tmp_path / "a.txt", tmp_path / "b.jsonl"
    texts.write_text("\n\n".join(["the nurse said that she works today"] * 90))
    message = {"role": "user", "content": "is the doctor good"}
    chats.write_text("\n".join([json.dumps({"messages": [message]})] * 90))
    audit = opened(tiny_model(), tiny_model(seed=1), corpus=(f"{texts}#paragraphs", str(chats)))
    found = corpora.corpus(audit, tmp_path / "cache")
    assert [d.source.partition(":")[0] for d in found.documents[:3]] == [str(texts), str(chats), str(texts)]
    assert {"user", "template", "none"} == {role for d in found.documents for role in d.roles}
    assert 800 <= sum(len(d.tokens) for d in found.documents) < 860
    assert "pair" not in vars(audit)
    key = corpora.corpus_key(audit)
    texts.write_text("the doctor said")
    assert corpora.corpus_key(audit) != key


def test_the_base_spells_out_what_it_has_no_tokens_for(tiny_model: Make, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("the <|new|> nurse")
    tuned = tiny_model(seed=1, extra=("<|new|>",))
    audit = opened(tiny_model(), tuned, corpus=(str(text),))
    [document] = corpora.corpus(audit, tmp_path / "cache").documents
    assert max(document.tokens) < audit.preflight.shared_vocabulary
    sampled = corpora.corpus(opened(tiny_model(), tuned), tmp_path / "sampled")
    assert max(t for d in sampled.documents for t in d.tokens) < audit.preflight.shared_vocabulary


def test_a_bad_corpus_is_found_before_the_audit(tmp_path: Path, tiny_model: Make) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "a"}\n{"text": 1}')
    corpora.check_corpus(("hub:org/name",))
    for entries in ((str(bad),), (str(tmp_path / "none.txt"),), ("hub:",)):
        with pytest.raises(AuditError):
            corpora.check_corpus(entries)
    bad.write_text('{"meta": {}}')
    with pytest.raises(AuditError, match="no text"):
        corpora.check_corpus((str(bad),))
    with pytest.raises(AuditError, match="no document"):
        corpora.corpus(opened(tiny_model(), tiny_model(seed=1), corpus=(str(bad),)), tmp_path / "cache")
