from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sae.errors import CorpusError
from sae.records import HubAddress, expand, parse_hub, read_records
from sae.roles import Turn

MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]


def written(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def lines(*values: Any) -> str:
    return "\n".join(json.dumps(value, ensure_ascii=False) for value in values)


def test_a_text_file_is_one_text_or_its_paragraphs(tmp_path: Path) -> None:
    entry = written(tmp_path, "a.txt", "one\nmore\r\n\n\n two\n")
    assert [record.text for record in read_records(entry)] == ["one\nmore\r\n\n\n two\n"]
    found = list(read_records(entry + "#paragraphs"))
    assert [record.text for record in found] == ["one\nmore\r", " two"]
    assert [record.where for record in found] == [f"{entry}:1", f"{entry}:5"]


def test_a_path_with_a_mark_in_it_is_that_path(tmp_path: Path) -> None:
    entry = written(tmp_path, "a#b.txt", "text")
    assert [record.text for record in read_records(entry)] == ["text"]


def test_lines_hold_texts_chats_or_sampled_tokens(tmp_path: Path) -> None:
    sampled = {"text": "a\u2028b", "tokens": [5, 6, 7], "roles": [["user", 2], ["template", 1]]}
    entry = written(tmp_path, "a.jsonl", lines({"meta": {}}, {"text": "t"}, {"messages": MESSAGES}, sampled))
    text, chat, tokens = read_records(entry)
    assert (text.text, text.turns, text.tokens) == ("t", (), None)
    assert chat.turns == (Turn("user", "hi"), Turn("assistant", "yes"))
    assert tokens.text == "a\u2028b"
    assert tokens.tokens == ((5, 6, 7), ("user", "user", "template"))
    assert tokens.where == f"{entry}:4"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "no JSON object"),
        ("{}", "neither a text nor messages"),
        ('{"text": "  "}', "neither a text nor messages"),
        ('{"text": 3}', "neither a text nor messages"),
        ('{"messages": []}', "list of at least one"),
        ('{"messages": "hi"}', "list of at least one"),
        ('{"messages": [{"role": "bot", "content": "x"}]}', "a role of"),
        ('{"messages": ["hi"]}', "a role of"),
        ('{"messages": [{"role": "user", "content": " "}]}', "content that is text"),
        ('{"messages": [{"role": "user"}]}', "content that is text"),
        ('{"text": "a", "tokens": "x"}', "list of token ids"),
        ('{"text": "a", "tokens": [-1]}', "list of token ids"),
        ('{"text": "a", "tokens": [1]}', "1 tokens, but 0 roles"),
        ('{"text": "a", "tokens": [1], "roles": [["bot", 1]]}', "list of pairs"),
        ('{"text": "a", "tokens": [1], "roles": 3}', "list of pairs"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    entry = written(tmp_path, "bad.jsonl", '{"text": "good"}\n\n' + line)
    with pytest.raises(CorpusError, match=problem) as caught:
        list(read_records(entry))
    assert str(caught.value.where).startswith(f"{entry}:3")
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("empty.txt", "  \n", "empty"),
        ("latin.txt", b"caf\xe9", "not UTF-8"),
        ("empty.jsonl", "", "empty"),
        ("a.csv", "x", "no kind of corpus"),
        ("a.txt#lines", "x", "cannot be read|no kind of corpus"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: str | bytes, problem: str) -> None:
    entry = str(tmp_path / name)
    if "#" not in name:
        written(tmp_path, name, content)
    with pytest.raises(CorpusError, match=problem) as caught:
        list(read_records(entry))
    assert str(tmp_path) in str(caught.value.where)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    for name in ("none.txt", "none.jsonl", "folder.jsonl"):
        with pytest.raises(CorpusError, match="cannot be read"):
            list(read_records(str(tmp_path / name)))


def test_roles_are_runs() -> None:
    assert expand([["user", 2], ["template", 0], ["none", 1]]) == ("user", "user", "none")


def test_the_address_of_a_data_set_is_taken_apart() -> None:
    assert parse_hub("hub:org/name") == HubAddress("org/name", None, None, "train", None)
    whole = parse_hub("hub:org/name@main#en:test:body")
    assert whole == HubAddress("org/name", "main", "en", "test", "body")


@pytest.mark.parametrize("entry", ["hub:", "hub:org/name@", "hub:org/name#", "hub:a:b:c:d", "hub:a::c"])
def test_an_incomplete_address_is_refused(entry: str) -> None:
    with pytest.raises(CorpusError, match="incomplete"):
        read_records(entry)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the library `datasets`: rows to give out, and what was asked for."""
    seen: dict[str, Any] = {"rows": []}

    def load_dataset(name: str, config: str | None, **asked: Any) -> Any:
        seen.update(name=name, config=config, **asked)
        if isinstance(seen["rows"], Exception):
            raise seen["rows"]
        return iter(seen["rows"])

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return seen


def test_a_data_set_of_the_hub_is_streamed(hub: dict[str, Any]) -> None:
    hub["rows"] = [{"text": "a", "body": "b"}, {"messages": MESSAGES, "body": "c"}]
    found = list(read_records("hub:org/name@v1#en:test"))
    assert (hub["name"], hub["config"], hub["split"], hub["revision"]) == ("org/name", "en", "test", "v1")
    assert hub["streaming"] is True
    assert [record.text for record in found] == ["a", ""]
    assert found[1].turns[1].content == "yes"
    assert found[1].where == "hub:org/name:test, row 1"
    assert [record.text for record in read_records("hub:org/name:train:body")] == ["b", "c"]


def test_what_the_hub_refuses_is_said(hub: dict[str, Any]) -> None:
    hub["rows"] = OSError("offline\nand more")
    with pytest.raises(CorpusError, match="cannot be read: offline"):
        list(read_records("hub:org/name"))
    hub["rows"] = [{"b": 1, "a": 2}]
    with pytest.raises(CorpusError, match="no column 'text'") as caught:
        list(read_records("hub:org/name:train:text"))
    assert caught.value.fix.endswith("a, b")
