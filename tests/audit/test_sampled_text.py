from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from audit import corpora
from audit.pair import embedded
from audit.pair.checkpoint import GGUF_SOURCE
from sae.corpus import Reader, documents
from sae.records import jsonl_records

BASE, TUNED = corpora.SHIPPED


def lines(name: str = BASE) -> list[dict[str, Any]]:
    return [json.loads(line) for line in corpora.shipped_sample(name).decode().split("\n") if line]


def test_the_shipped_sample_binds_to_the_embedded_base() -> None:
    expected = hashlib.sha256(json.dumps([[GGUF_SOURCE, embedded.SHA256]]).encode()).hexdigest()
    meta = lines()[0]["meta"]
    assert meta["identity"] == expected
    assert (meta["form"], meta["seed"], meta["device"]) == ("both", 0, "cpu")


@pytest.mark.parametrize(("name", "wanted"), [(BASE, 40_000), (TUNED, 8_000)])
def test_it_is_small_and_has_both_forms(name: str, wanted: int) -> None:
    folder = resources.files("audit.sampled_text")
    assert len((folder / name).read_bytes()) < 200_000
    assert name.removesuffix(".gz") in (folder / "README.md").read_text(encoding="utf-8")
    _, *texts = lines(name)
    tokens = [len(text["tokens"]) for text in texts]
    chats = [len(text["tokens"]) for text in texts if "messages" in text]
    assert wanted <= sum(tokens) < 1.03 * wanted
    assert 0.4 < len(chats) / len(tokens) < 0.6
    assert len({tuple(text["tokens"]) for text in texts}) == len(texts)


@pytest.mark.slow
def test_it_decodes_to_its_own_text(embedded_base: Path) -> None:
    from audit.pair.tokens import read_tokenizer

    tokenizer = read_tokenizer(embedded_base, allow_code=False)
    records = list(jsonl_records(corpora.shipped_sample().decode(), "shipped"))
    found = documents([records], Reader(tokenizer, None, 256, vocabulary=len(tokenizer)))
    assert [list(d.tokens) for d in found] == [list(r.tokens.ids) for r in records if r.tokens]
    for record, document in zip(records, found, strict=True):
        spoken = [t for t, role in zip(document.tokens, document.roles, strict=True) if role == "user"]
        assert tokenizer.decode(spoken) == (record.turns[0].content if record.turns else "")


@pytest.mark.slow
def test_a_quick_audit_of_the_embedded_pair_samples_nothing(
    shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.config import CompareConfig
    from audit.inputs import AuditInputs
    from audit.pair.checkpoint import LoadOptions, resolve
    from audit.pair.preflight import compare
    from audit.presets import PRESETS

    def sample_into(*_: Any) -> int:
        raise AssertionError("it sampled")

    monkeypatch.setattr("audit.sampling.sample_into", sample_into)
    sides = [resolve(f"embedded:{side}", LoadOptions()) for side in ("base", "tuned")]
    config = CompareConfig(base="embedded:base", tuned="embedded:tuned", preset="quick")
    found = corpora.corpus(AuditInputs(config, *sides, compare(*sides), ()), tmp_path)
    half = PRESETS["quick"].corpus_tokens // 2
    for model in ("demo", "embedded:tuned"):
        own = [len(d.tokens) for d in found.documents if f"sampled from {model}" in d.source]
        assert sum(own) == pytest.approx(half, rel=0.12)
