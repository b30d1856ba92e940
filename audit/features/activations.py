"""Activations of an audit: harvested once into a folder, then read as often as dictionaries need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from audit.progress import Progress
from sae.buffer import ShuffleBuffer
from sae.harvest import Harvest, HarvestState, MaskConfig, harvest
from sae.store import Store, keep
from sae.types import Document, Pair, PairedActivations, TokenInfo

CAPACITY = 32_768
"""Tokens that the shuffling holds in memory."""
HELD_OUT = 10
"""Every so many-th document is kept from training."""


@dataclass(frozen=True)
class Reading:
    """What is read, and how."""

    documents: Sequence[Document]
    layers: tuple[int, ...]
    batch_size: int
    mask: MaskConfig = field(default_factory=MaskConfig)


def harvested(
    pair: Pair,
    reading: Reading,
    folder: Path,
    key: dict[str, Any],
    *,
    title: str,
    progress: Progress,
    order: Sequence[int] | None = None,
) -> Store:
    """Fills a folder with both models' activations, going on where an earlier try was stopped."""
    with progress.task(title, len(reading.documents)) as advance:

        def opened(state: HarvestState) -> Harvest:
            return harvest(
                pair,
                reading.documents,
                reading.layers,
                batch_size=reading.batch_size,
                mask=reading.mask,
                progress=advance,
                order=order,
                state=state,
            )

        return keep(folder, opened, key)


@dataclass(frozen=True)
class HookStream:
    """The activations of one hook point."""

    store: Store
    place: int
    """Index into the store's hook points."""
    seed: int
    """Of the shuffling."""

    def __iter__(self) -> Iterator[PairedActivations]:
        """In the order of the store."""
        for piece in self.store:
            yield PairedActivations(piece.x_NLMD[:, self.place : self.place + 1], piece.info)

    def epoch(self, number: int) -> Iterator[Tensor]:
        """Shuffled x_NMD of the documents that are trained on."""
        tokens = max(1, sum(shard.tokens for shard in self.store.shards))
        capacity = min(CAPACITY, tokens)
        shuffled = ShuffleBuffer(
            self._part(held_out=False),
            capacity=capacity,
            batch_size=max(1, capacity // 8),
            seed=1000 * self.seed + number,
        )
        for piece in shuffled:
            yield piece.x_NLMD[:, 0].float()

    def held_out(self) -> Callable[[], Iterator[Tensor]] | None:
        """Maker of a stream of x_NMD that is not trained on; None where every document is needed."""

        def stream() -> Iterator[Tensor]:
            for piece in self._part(held_out=True):
                yield piece.x_NLMD[:, 0].float()

        return stream if next(stream(), None) is not None else None

    def _part(self, *, held_out: bool) -> Iterator[PairedActivations]:
        for piece in self:
            chosen = is_held_out(piece.info.document_N) == held_out
            if chosen.any():
                info = {name: values[chosen] for name, values in vars(piece.info).items()}
                yield PairedActivations(piece.x_NLMD[chosen], TokenInfo(**info))


def is_held_out(document_N: Tensor) -> Tensor:
    """Whether documents are kept from training, by their numbers."""
    held: Tensor = document_N % HELD_OUT == HELD_OUT - 1
    return held
