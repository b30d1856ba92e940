"""The residual streams of both models on the same tokens, as a stream: never more than one pool in memory.

A pool is some documents in a row that together have about `POOL_TOKENS` tokens, whatever the batch size. In
it batches are made of documents of like length; each is read by the base, then by the tuned model, since the
two may be one set of weights. What is given out is in the order of the documents again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae.errors import HarvestError
from sae.hooks import capture
from sae.masking import HarvestState, HarvestStats, MaskConfig, masked, pool_info
from sae.types import SIDES, Document, Pair, PairedActivations, Side

__all__ = ["Harvest", "HarvestState", "HarvestStats", "MaskConfig", "harvest", "pools", "shuffled_order"]

POOL_TOKENS = 8192
Progress = Callable[[int], object]


def harvest(
    pair: Pair,
    documents: Sequence[Document],
    layers: Sequence[int],
    *,
    batch_size: int = 16,
    mask: MaskConfig | None = None,
    progress: Progress = lambda done: None,
    order: Sequence[int] | None = None,
    state: HarvestState | None = None,
) -> Harvest:
    """Streams what both models compute on the same tokens; `.stats` of the result says what was left out.

    Args:
        pair: the two models; only one is open at a time.
        documents: what they read.
        layers: blocks whose output is wanted; their order is that of L in the result.
        batch_size: documents per forward pass.
        mask: positions to leave out; by default the first of each document and outliers.
        progress: called with the number of documents just finished.
        order: numbers of the documents in the order in which to read them; by default all as they stand.
        state: where an earlier harvest of the same arguments stopped; finished pools are not read again.

    Returns:
        An iterator over one `PairedActivations` per pool, on the models' device and in their dtype, documents
        in order and positions ascending. `document_N` counts in `documents`, whatever the `order`.

    Raises:
        HarvestError: there is nothing to read, no such block, a document is too long, or activations are not
            finite.
    """
    if not documents or not layers:
        missing = "documents" if not documents else "layers"
        raise HarvestError(f"no {missing} to harvest", where=missing, fix="give at least one")
    if batch_size < 1:
        raise HarvestError(f"batch size {batch_size}", where="batch_size", fix="ask for at least 1")
    for document in documents:
        if not document.tokens:
            raise HarvestError("a document has no tokens", where=document.source, fix="leave it out")
    plan = _Plan(pair, documents, tuple(layers), batch_size, mask or MaskConfig(), progress)
    numbers = range(len(documents)) if order is None else order
    return Harvest(plan, pools(documents, numbers, POOL_TOKENS), state or HarvestState())


def shuffled_order(count: int, seed: int) -> list[int]:
    """The numbers 0 to `count` - 1 in random order: documents read so, and a buffer, mix a whole corpus."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()


def pools(documents: Sequence[Document], order: Sequence[int], pool_tokens: int) -> list[list[int]]:
    """Document numbers in the given order, cut where a pool has `pool_tokens` tokens or more."""
    found: list[list[int]] = [[]]
    room = pool_tokens
    for number in order:
        if room <= 0:
            found.append([])
            room = pool_tokens
        found[-1].append(number)
        room -= len(documents[number].tokens)
    return found


class _Plan(NamedTuple):
    pair: Pair
    documents: Sequence[Document]
    layers: tuple[int, ...]
    batch_size: int
    mask: MaskConfig
    progress: Progress


class Harvest(Iterator[PairedActivations]):
    """A harvest under way."""

    def __init__(self, plan: _Plan, groups: list[list[int]], state: HarvestState) -> None:
        self.state = state
        """How far it is, with what was given out last."""
        self._plan = plan
        self._groups = groups

    @property
    def stats(self) -> HarvestStats:
        """Counts so far; whole when the stream is exhausted."""
        return self.state.stats

    def __next__(self) -> PairedActivations:
        if self.state.pools >= len(self._groups):
            raise StopIteration
        numbers = self._groups[self.state.pools]
        x_NLMD = _read_pool(self._plan, numbers)
        mask, documents = self._plan.mask, self._plan.documents
        info = pool_info(numbers, documents, mask, x_NLMD.device)
        found = masked(x_NLMD, info, mask, self.state)
        self.state = found.state
        return found.kept


def _read_pool(plan: _Plan, numbers: Sequence[int]) -> Float[Tensor, "N L 2 D"]:
    """Every token of some documents in both models, documents in order."""
    lengths = [len(plan.documents[number].tokens) for number in numbers]
    starts = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    x_NLMD: Tensor | None = None
    for rows in _batches(lengths, plan.batch_size):
        tokens = [plan.documents[numbers[row]].tokens for row in rows]
        for m, side in enumerate(SIDES):
            x_LBTD = _read_batch(plan, side, tokens)
            if x_NLMD is None:
                shape = (starts[-1], len(plan.layers), len(SIDES), x_LBTD.shape[-1])
                x_NLMD = torch.empty(shape, dtype=x_LBTD.dtype, device=x_LBTD.device)
            for place, row in enumerate(rows):
                own = x_LBTD[:, place, : lengths[row]]
                x_NLMD[starts[row] : starts[row + 1], :, m] = own.transpose(0, 1)
        plan.progress(len(rows))
    assert x_NLMD is not None  # noqa: S101  (a pool has at least one document)
    return x_NLMD


def _read_batch(plan: _Plan, side: Side, tokens: Sequence[Sequence[int]]) -> Float[Tensor, "L B T D"]:
    with plan.pair.model(side) as model:
        _check_fit(model, plan.layers, max(map(len, tokens)))
        block = _pad_right(tokens, next(model.parameters()).device)
        return capture(model, plan.layers, block.ids, block.mask)


class _Block(NamedTuple):
    ids: Int[Tensor, "B T"]
    mask: Int[Tensor, "B T"]


def _pad_right(rows: Sequence[Sequence[int]], device: torch.device) -> _Block:
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    lengths = torch.tensor([[len(row)] for row in rows], device=device)
    return _Block(ids, (torch.arange(width, device=device) < lengths).long())


def _batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Rows of like length together, in batches of equal size or one apart."""
    rows = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    count = -(-len(rows) // batch_size)
    for i in range(count):
        yield rows[len(rows) * i // count : len(rows) * (i + 1) // count]


def _check_fit(model: Any, layers: Sequence[int], longest: int) -> None:
    config = model.config.get_text_config()
    for layer in layers:
        if not 0 <= layer < config.num_hidden_layers:
            fix = f"ask for blocks 0 to {config.num_hidden_layers - 1}"
            raise HarvestError("there is no such block", where=f"layer {layer}", fix=fix)
    room = getattr(config, "max_position_embeddings", None)
    if room is not None and longest > room:
        problem = f"a document has {longest} tokens, and the model's context holds {room}"
        raise HarvestError(problem, where="documents", fix="cut documents into shorter windows")
