from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit import sampling
from audit.config import SampleConfig
from audit.errors import AuditError, OutputError, UsageError
from audit.progress import Silent
from audit.sample import run_sample, sae_errors
from audit.stages.openings import openings, starts
from sae.corpus import Reader, documents
from sae.errors import CorpusError
from sae.records import read_records
from sae.roles import Turn

Make = Callable[..., Path]


def settings(model: Path, out: Path, **other: Any) -> SampleConfig:
    counts = {"tokens": 300, "new_tokens": 9, "batch_size": 4, **other}
    return SampleConfig(model=str(model), out=str(out), **counts)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture
def tokenizer(tiny_tokenizer: Callable[..., Any]) -> Any:
    return tiny_tokenizer()


def test_texts_in_both_forms_with_their_exact_tokens(
    tiny_model: Make, tmp_path: Path, tokenizer: Any
) -> None:
    found = run_sample(settings(tiny_model(), tmp_path / "c.jsonl"), Silent())
    meta, *texts = rows(found.path)
    assert meta["meta"]["seed"] == 0
    assert len(meta["meta"]["identity"]) == 64
    assert "out" not in meta["meta"]
    assert (len(texts), sum(len(t["tokens"]) for t in texts)) == (found.texts, found.tokens)
    assert 300 <= found.tokens < 300 + max(len(t["tokens"]) for t in texts)
    assert ["messages" in t for t in texts[:4]] == [False, True, False, True]
    records = list(read_records(str(found.path)))
    reader = Reader(tokenizer, None, 512)
    for record, text, document in zip(records, texts, documents([records], reader), strict=True):
        assert list(document.tokens) == text["tokens"]
        assert tokenizer.decode(text["tokens"]) == record.text


def test_each_text_begins_as_the_drift_does(tiny_model: Make, tmp_path: Path, tokenizer: Any) -> None:
    found = run_sample(settings(tiny_model(), tmp_path / "c.jsonl"), Silent())
    _, *texts = rows(found.path)
    for text, (form, ids) in zip(texts, starts(tokenizer, tokenizer.chat_template, len(texts)), strict=True):
        assert ("messages" in text) == (form == "chat")
        assert text["tokens"][: len(ids)] == ids
        assert len(text["tokens"]) - len(ids) <= 9


def test_the_roles_of_a_chat_are_told(tiny_model: Make, tmp_path: Path, tokenizer: Any) -> None:
    config = settings(tiny_model(), tmp_path / "c.jsonl", form="chat")
    run_sample(config, Silent())
    found = documents([read_records(config.out)], Reader(tokenizer, None, 512))
    for opening, document in zip(openings(), found, strict=False):
        spoken = list(zip(document.tokens, document.roles, strict=True))
        assert tokenizer.decode([t for t, role in spoken if role == "user"]) == opening.request
        assert spoken[0] == (1, "template")
        assert spoken[-1][1] == ("template" if spoken[-1][0] == 2 else "assistant")


def drawn_from(tokenizer: Any, form: sampling.Form, drawn: list[int]) -> dict[str, Any]:
    sampler = sampling.Sampler(tokenizer, tokenizer.chat_template, (2,), 471, form, 9, 4, 0)
    return sampler._record(sampler.starts[0], drawn)


def test_the_token_that_ends_a_turn_belongs_to_the_template(tokenizer: Any) -> None:
    yes = tokenizer(" yes")["input_ids"]
    chat = drawn_from(tokenizer, "chat", [*yes, 2])
    assert chat["messages"][1] == {"role": "assistant", "content": " yes"}
    assert chat["roles"][-2:] == [["assistant", len(yes)], ["template", 1]]
    assert drawn_from(tokenizer, "chat", yes)["roles"][-1] == ["assistant", len(yes)]
    assert len(drawn_from(tokenizer, "chat", [2])["messages"]) == 1
    plain = drawn_from(tokenizer, "plain", [*yes, 2])
    assert plain["roles"] == [["none", len(plain["tokens"])]]
    assert plain["text"].endswith(" yes<|end|>")


def test_a_second_call_changes_nothing(tiny_model: Make, tmp_path: Path) -> None:
    config = settings(tiny_model(), tmp_path / "c.jsonl")
    first = run_sample(config, Silent())
    content, time = first.path.read_bytes(), first.path.stat().st_mtime_ns
    assert run_sample(config, Silent()) == first
    assert (first.path.read_bytes(), first.path.stat().st_mtime_ns) == (content, time)


@pytest.mark.parametrize("torn", [b"", b'{"text": "half'])
def test_a_killed_call_goes_on_and_ends_the_same(
    tiny_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    model = tiny_model()
    whole = run_sample(settings(model, tmp_path / "whole.jsonl", batch_size=2), Silent()).path.read_bytes()
    out, calls = tmp_path / "c.jsonl", []
    chunk = sampling.Sampler.chunk

    def dying(self: sampling.Sampler, model: Any, number: int) -> Any:
        calls.append(number)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return chunk(self, model, number)

    monkeypatch.setattr(sampling.Sampler, "chunk", dying)
    with pytest.raises(KeyboardInterrupt):
        run_sample(settings(model, out, batch_size=2), Silent())
    assert not out.exists()
    partial = tmp_path / "c.jsonl.partial"
    partial.write_bytes(partial.read_bytes() + torn)
    assert run_sample(settings(model, out, batch_size=2), Silent()).path.read_bytes() == whole
    assert calls[:4] == [0, 1, 2, 2]
    assert not partial.exists()


def test_a_call_killed_before_its_first_line_begins_anew(tiny_model: Make, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl.partial").write_bytes(b'{"meta"')
    assert run_sample(settings(tiny_model(), tmp_path / "c.jsonl"), Silent()).tokens >= 300


@pytest.mark.parametrize("there", ["other seed", "text", "array"])
def test_another_corpus_is_never_overwritten(tiny_model: Make, tmp_path: Path, there: str) -> None:
    model, out = tiny_model(), tmp_path / "c.jsonl"
    if there == "other seed":
        run_sample(settings(model, out, seed=1), Silent())
    else:
        out.write_text({"text": "my notes\n", "array": "[1]\n"}[there])
    before = out.read_bytes()
    with pytest.raises(UsageError, match="something else here"):
        run_sample(settings(model, out), Silent())
    assert out.read_bytes() == before


def test_one_process_writes_at_a_time(tiny_model: Make, tmp_path: Path) -> None:
    from filelock import FileLock

    with FileLock(tmp_path / ".c.jsonl.lock"), pytest.raises(OutputError, match="Another process"):
        run_sample(settings(tiny_model(), tmp_path / "c.jsonl"), Silent())


def test_a_model_without_template_writes_plain_text(tiny_model: Make, tmp_path: Path) -> None:
    model = tiny_model(chat=False)
    _, *texts = rows(run_sample(settings(model, tmp_path / "c.jsonl"), Silent()).path)
    assert not any("messages" in text for text in texts)
    with pytest.raises(UsageError, match="no chat template"):
        run_sample(settings(model, tmp_path / "d.jsonl", form="chat"), Silent())


def test_the_seed_decides_and_every_chunk_is_its_own(tiny_model: Make, tmp_path: Path) -> None:
    model = tiny_model()
    texts = [
        rows(
            run_sample(
                settings(model, tmp_path / f"{seed}.jsonl", seed=seed, form="plain", tokens=3200), Silent()
            ).path
        )[1:]
        for seed in (0, 1)
    ]
    assert texts[0] != texts[1]
    again = [t["tokens"] for t in texts[0][32:]]
    assert again
    assert [t["tokens"] for t in texts[0][: len(again)]] != again


@pytest.mark.parametrize(
    "wrong",
    [{"tokens": 0}, {"new_tokens": 0}, {"batch_size": 0}, {"seed": -1}, {"form": "x"}, {"dtype": "x"}],
)
def test_a_setting_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SampleConfig(model="m", out="c.jsonl", **wrong)
    with pytest.raises(UsageError, match=r"\.jsonl"):
        SampleConfig(model="m", out="c.txt")


def test_a_chat_that_the_template_refuses_is_the_users_error(tokenizer: Any) -> None:
    render = sampling.renderer(tokenizer, "{{ raise_exception('no') }}")
    with pytest.raises(AuditError, match="cannot render this chat") as caught, sae_errors():
        render([Turn("user", "hi")])
    assert caught.value.fix
    with pytest.raises(CorpusError):
        sampling.renderer(tokenizer, tokenizer.chat_template)([Turn("user", " ")])


def test_the_last_answer_of_a_rendered_chat_is_closed(tokenizer: Any) -> None:
    render = sampling.renderer(tokenizer, tokenizer.chat_template)
    assert render([Turn("user", "hi"), Turn("assistant", "yes")]).endswith("yes<|end|>\n")
