from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sae.corpus import Reader, documents, fingerprint, roles_in_runs
from sae.errors import CorpusError
from sae.records import Record, Tokens
from sae.roles import Turn

Make = Callable[..., Any]


def render(turns: Sequence[Turn]) -> str:
    return "".join(f"<|start|>{turn.role}\n{turn.content}<|end|>\n" for turn in turns)


@pytest.fixture
def reader(tiny_tokenizer: Make) -> Reader:
    return Reader(tiny_tokenizer(), render, max_tokens=64)


def test_texts_and_chats_become_tokens_with_roles(reader: Reader) -> None:
    chat = Record("c:1", turns=(Turn("user", "the nurse"), Turn("assistant", "said yes")))
    text, talk = documents([[Record("t:1", "the doctor said"), chat]], reader)
    assert reader.tokenizer.decode(text.tokens) == "the doctor said"
    assert set(text.roles) == {"none"}
    assert (text.source, talk.source) == ("t:1", "c:1")
    assert reader.tokenizer.decode(talk.tokens) == render(chat.turns)
    own = [t for t, role in zip(talk.tokens, talk.roles, strict=True) if role == "assistant"]
    assert reader.tokenizer.decode(own) == "said yes"


def test_sources_take_turns_until_the_budget_is_spent(reader: Reader) -> None:
    many = [Record(f"a:{i}", "the nurse said") for i in range(9)]
    few = [Record("b:0", "the doctor said")]
    found = documents([many, few], reader, budget=10)
    assert [document.source for document in found] == ["a:0", "b:0", "a:1", "a:2"]
    assert sum(len(document.tokens) for document in found) == 12


def test_a_long_text_is_cut_into_even_windows_that_lose_nothing(reader: Reader) -> None:
    text = "the nurse said that she works today " * 20
    [whole] = documents([[Record("t", text)]], replace(reader, max_tokens=1000))
    parts = documents([[Record("t", text)]], reader)
    assert [t for part in parts for t in part.tokens] == list(whole.tokens)
    lengths = [len(part.tokens) for part in parts]
    assert max(lengths) <= 64
    assert max(lengths) - min(lengths) <= 1
    assert parts[1].source == f"t, tokens {lengths[0]}-{lengths[0] + lengths[1] - 1}"


def test_every_window_begins_with_the_beginning_of_text(reader: Reader) -> None:
    tokenizer = reader.tokenizer
    ids = (1, *tokenizer("the nurse said that she works today " * 20)["input_ids"])
    record = Record("t", tokenizer.decode(ids), tokens=Tokens(ids, ("none",) * len(ids)))
    parts = documents([[record]], reader)
    assert len(parts) == 3
    assert all(part.tokens[0] == 1 and len(part.tokens) <= 64 for part in parts)
    assert (1, *(t for part in parts for t in part.tokens[1:])) == ids


def test_sampled_tokens_are_kept_where_the_tokenizer_made_them(reader: Reader) -> None:
    ids = tuple(reader.tokenizer("t")["input_ids"]) + tuple(reader.tokenizer("he")["input_ids"])
    sampled = Record("s", "the", tokens=Tokens(ids, ("user",) * len(ids)))
    [kept] = documents([[sampled]], reader)
    assert kept.tokens == ids != tuple(reader.tokenizer("the")["input_ids"])
    [afresh] = documents([[replace(sampled, text="the nurse")]], reader)
    assert reader.tokenizer.decode(afresh.tokens) == "the nurse"
    foreign = replace(sampled, tokens=Tokens((10**6,), ("user",)))
    [spelled] = documents([[foreign]], reader)
    assert spelled.tokens == tuple(reader.tokenizer("the")["input_ids"])


def test_an_end_token_that_the_tokenizer_adds_is_taken_off(reader: Reader) -> None:
    from tokenizers.processors import TemplateProcessing

    reader.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(  # type: ignore[attr-defined]
        single="<|start|> $A <|end|>", special_tokens=[("<|start|>", 1), ("<|end|>", 2)]
    )
    [document] = documents([[Record("t", "the nurse")]], reader)
    assert document.tokens[0] == 1
    assert 2 not in document.tokens


def test_what_cannot_be_read_is_named(reader: Reader) -> None:
    chat = Record("file:7", turns=(Turn("user", "aaa"),))
    with pytest.raises(CorpusError, match="no document"):
        documents([[]], reader)
    with pytest.raises(CorpusError, match="chat template") as caught:
        documents([[chat]], replace(reader, render=None))
    assert caught.value.where == "file:7"
    with pytest.raises(CorpusError, match="changes what") as caught:
        documents([[chat]], replace(reader, render=lambda turns: turns[0].content.replace("a", "b")))
    assert caught.value.where == "file:7, message 1 (user)"
    with pytest.raises(CorpusError, match="not in the vocabulary") as caught:
        documents([[Record("t:3", "the nurse")]], replace(reader, vocabulary=100))
    assert caught.value.where == "t:3"
    with pytest.raises(CorpusError, match="hold nothing"):
        documents([[Record("t", "the nurse")]], replace(reader, max_tokens=0))


def test_a_chat_without_template_is_read_as_its_text(reader: Reader) -> None:
    chat = Record("c", "the nurse", turns=(Turn("user", "the nurse"),))
    [document] = documents([[chat]], replace(reader, render=None))
    assert set(document.roles) == {"none"}


def test_the_fingerprint_is_of_tokens_and_roles(reader: Reader) -> None:
    [a] = documents([[Record("t", "the nurse")]], reader)
    assert fingerprint([a]) == fingerprint([replace(a, source="elsewhere")])
    others = [replace(a, roles=("user",) * len(a.roles)), replace(a, tokens=(5,) * len(a.tokens))]
    assert len({fingerprint([a]), fingerprint([a, a]), *(fingerprint([b]) for b in others)}) == 4
    assert roles_in_runs(("user", "user", "none")) == [["user", 2], ["none", 1]]
