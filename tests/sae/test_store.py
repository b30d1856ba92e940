from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from sae import store
from sae.errors import StoreError
from sae.harvest import Harvest, HarvestState, MaskConfig, harvest
from sae.types import Document, Side

KEY = {"model": "m", "layers": (0, 1)}


class Pair:
    """No models: `capture` is replaced, and this says which side it is."""

    side: Side = "base"

    @contextmanager
    def model(self, side: Side) -> Iterator[Any]:
        self.side = side
        config = type("Config", (), {"get_text_config": lambda self: self, "num_hidden_layers": 2})()
        yield type("Model", (), {"config": config, "parameters": lambda self: iter([torch.zeros(1)])})()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[HarvestState], Harvest]:
    """Opens a harvest of 5 pools in bfloat16, and records in `.calls` how many documents were read."""
    calls: list[int] = []

    def capture(_model: Any, layers: Any, ids: torch.Tensor, _mask: torch.Tensor) -> torch.Tensor:
        calls.append(len(ids))
        ramp = torch.arange(ids.numel() * 2, dtype=torch.float32).view(1, *ids.shape, 2)
        return (ramp + ids[None, ..., None]).to(torch.bfloat16).expand(len(layers), -1, -1, -1)

    monkeypatch.setattr("sae.harvest.capture", capture)
    monkeypatch.setattr("sae.harvest.POOL_TOKENS", 8)
    documents = [Document(tuple(range(i, i + 4)), ("none",) * 4, f"d{i}") for i in range(10)]

    def start(state: HarvestState) -> Harvest:
        mask = MaskConfig(outlier=None)
        return harvest(Pair(), documents, [0, 1], mask=mask, state=state)  # type: ignore[arg-type]

    start.calls = calls  # type: ignore[attr-defined]
    return start


def test_what_was_kept_is_read_back_bit_for_bit(tmp_path: Path, opened: Any) -> None:
    kept = store.keep(tmp_path / "s", opened, KEY)
    straight = opened(HarvestState())
    expected = list(straight)
    for found in (kept, store.open_store(tmp_path / "s")):
        chunks = list(found)
        assert len(chunks) == len(expected) == 5
        for a, b in zip(chunks, expected, strict=True):
            assert a.x_NLMD.dtype == torch.bfloat16
            assert torch.equal(a.x_NLMD, b.x_NLMD)
            assert all(torch.equal(vars(a.info)[name], vars(b.info)[name]) for name in vars(a.info))
        assert found.stats == straight.stats
        assert sum(shard.tokens for shard in found.shards) == found.stats.kept == 30


def test_finished_shards_are_not_harvested_again(tmp_path: Path, opened: Any) -> None:
    whole = list(store.keep(tmp_path / "whole", opened, KEY))
    opened.calls.clear()

    def killed(state: HarvestState) -> Iterator[Any]:
        stream = opened(state)

        class Dying:
            state = stream.state

            def __iter__(self) -> Iterator[Any]:
                for _ in range(3):
                    chunk = next(stream)
                    self.state = stream.state
                    yield chunk
                raise KeyboardInterrupt

        return Dying()  # type: ignore[return-value]

    with pytest.raises(KeyboardInterrupt):
        store.keep(tmp_path / "s", killed, KEY)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="not finished"):
        store.open_store(tmp_path / "s")
    assert len(opened.calls) == 6
    again = list(store.keep(tmp_path / "s", opened, KEY))
    assert len(opened.calls) == 10
    assert [p.name for p in (tmp_path / "s").glob(".*")] == []
    assert all(torch.equal(a.x_NLMD, b.x_NLMD) for a, b in zip(again, whole, strict=True))
    store.keep(tmp_path / "s", opened, KEY)
    assert len(opened.calls) == 10


def test_a_shard_that_was_written_but_not_indexed_is_written_again(tmp_path: Path, opened: Any) -> None:
    folder = tmp_path / "s"
    store.keep(folder, opened, KEY)
    index = json.loads((folder / store.INDEX).read_text())
    states = [opened(HarvestState())]
    next(states[0])
    index |= {"complete": False, "shards": index["shards"][:1], "state": states[0].state.to_json()}
    (folder / store.INDEX).write_text(json.dumps(index))
    (folder / "shard-00001.safetensors").write_bytes(b"half")
    assert len(list(store.keep(folder, opened, KEY))) == 5


def test_a_damaged_or_missing_shard_is_named(tmp_path: Path, opened: Any) -> None:
    kept = store.keep(tmp_path / "s", opened, KEY)
    path = tmp_path / "s" / "shard-00002.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for read in (lambda: list(kept), lambda: store.keep(tmp_path / "s", opened, KEY)):
        with pytest.raises(StoreError, match="damaged") as caught:
            read()
        assert str(caught.value.where).endswith("shard-00002.safetensors")
    path.unlink()
    with pytest.raises(StoreError, match="missing"):
        list(store.open_store(tmp_path / "s"))


def test_the_activations_of_another_harvest_are_not_touched(tmp_path: Path, opened: Any) -> None:
    store.keep(tmp_path / "s", opened, KEY)
    with pytest.raises(StoreError, match="another harvest"):
        store.keep(tmp_path / "s", opened, {"model": "other"})
    assert len(list(store.open_store(tmp_path / "s"))) == 5


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 99}', '{"format": 1, "shards": [{"x": 1}]}'])
def test_a_broken_index_is_an_error(tmp_path: Path, opened: Any, content: str) -> None:
    (tmp_path / store.INDEX).write_text(content)
    with pytest.raises(StoreError, match="index cannot be read"):
        store.open_store(tmp_path)


def test_nothing_there_and_nowhere_to_write_are_errors(tmp_path: Path, opened: Any) -> None:
    with pytest.raises(StoreError, match="no activations"):
        store.open_store(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        store.keep(tmp_path / "file" / "s", opened, KEY)
