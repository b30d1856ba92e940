"""Tokens per second of the paired harvest, over the same two forward passes written by hand.

By hand means: forward hooks on both models, the pass ended after the deepest one, the same documents in the
same batches, nothing masked, nothing reordered. Both run in turn in one process, so that only their ratio
counts; absolute speeds depend on the machine.

Run: python benchmarks/harvest.py [--repeats 5] [--documents 48] [--layer 15] [--clock wall|cpu]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, LlamaConfig

from audit.corpora import shipped_sample
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.load import open_pair
from sae.harvest import harvest
from sae.records import jsonl_records
from sae.types import SIDES, Document, Pair, Side

BATCH_SIZE = 16


class Stop(Exception):  # noqa: N818  (a signal, no error)
    """The deepest block has been read."""


def by_hand(pair: Pair, documents: Sequence[Document], layer: int) -> int:
    """Both models over the documents, longest first, as one writes it for one experiment; tokens read."""
    rows = sorted((document.tokens for document in documents), key=len, reverse=True)
    kept: list[torch.Tensor] = []
    for start in range(0, len(rows), BATCH_SIZE):
        batch = rows[start : start + BATCH_SIZE]
        width = len(batch[0])
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch])
        for side in SIDES:
            with pair.model(side) as model:
                kept.append(_residual(model, layer, ids, mask)[mask.bool()])
    return sum(len(x) for x in kept) // len(SIDES)


def _residual(model: Any, layer: int, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []

    def hook(_module: Any, _inputs: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)
        raise Stop

    handle = model.model.layers[layer].register_forward_hook(hook)
    try:
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=mask, use_cache=False)
    except Stop:
        pass
    finally:
        handle.remove()
    return seen[0]


def ours(pair: Pair, documents: Sequence[Document], layer: int) -> int:
    """The same by `sae.harvest`, with everything it masks and counts; tokens read."""
    stream = harvest(pair, documents, [layer], batch_size=BATCH_SIZE)
    for _ in stream:
        pass
    return stream.stats.seen


class Speed(NamedTuple):
    """Tokens per second, each token read by both models."""

    ours: float
    by_hand: float
    ratio: float
    """Median over repetitions of the ratio within one repetition."""


def compare(
    pair: Pair, documents: Sequence[Document], layer: int, repeats: int, clock: Callable[[], float]
) -> Speed:
    """Both ways in turn, after one round that does not count; the order changes each time."""
    rates: dict[str, list[float]] = {"ours": [], "by hand": []}
    ways: list[tuple[str, Callable[..., int]]] = [("ours", ours), ("by hand", by_hand)]
    for repeat in range(repeats + 1):
        for name, way in ways if repeat % 2 else reversed(ways):
            began = clock()
            tokens = way(pair, documents, layer)
            if repeat:
                rates[name].append(tokens / (clock() - began))
    ratios = [a / b for a, b in zip(rates["ours"], rates["by hand"], strict=True)]
    return Speed(*(statistics.median(r) for r in (rates["ours"], rates["by hand"], ratios)))


class TinyPair:
    """Two small random models in memory."""

    def __init__(self) -> None:
        shape = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 8, "vocab_size": 50_000}
        config = LlamaConfig(num_attention_heads=4, num_key_value_heads=4, **shape)
        self._models = {side: AutoModelForCausalLM.from_config(config).eval() for side in SIDES}

    @contextmanager
    def model(self, side: Side) -> Iterator[Any]:
        """One of them."""
        yield self._models[side]


def sampled_documents(count: int) -> list[Document]:
    """The first texts of the shipped sample."""
    records = jsonl_records(shipped_sample().decode(), "shipped")
    tokens = [record.tokens for record in records if record.tokens is not None]
    return [Document(*found, f"{i}") for i, found in enumerate(tokens[:count])]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("repeats", 5), ("documents", 48), ("layer", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    clocks = {"wall": time.perf_counter, "cpu": time.process_time}
    help_text = "cpu: seconds of the processor, for a machine that does other work at the same time"
    parser.add_argument("--clock", choices=tuple(clocks), default="wall", help=help_text)
    asked = parser.parse_args()
    clock = clocks[asked.clock]
    documents = sampled_documents(asked.documents)
    table = Table("pair", "harvest, tokens/s", "by hand, tokens/s", "ratio", title="paired harvest")
    tiny = compare(TinyPair(), documents, 4, asked.repeats, clock)
    table.add_row("two tiny models", *(f"{value:,.2f}" for value in tiny))
    options = LoadOptions()
    with open_pair(*(resolve(f"embedded:{side}", options) for side in SIDES), options=options) as pair:
        found = compare(pair, documents, asked.layer, asked.repeats, clock)
    table.add_row("embedded pair, one copy", *(f"{value:,.2f}" for value in found))
    Console().print(table)


if __name__ == "__main__":
    main()
