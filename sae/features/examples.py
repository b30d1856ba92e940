"""Tokens on which chosen latents fire, with both models' activations around them, in bounded memory.

Per latent there are three strata: the strongest tokens (one per document), tokens at evenly spaced quantiles
of the activations of a uniform sample of the firing tokens, and a uniform sample itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae.features.active import read
from sae.features.statistics import PIECE
from sae.types import PairedActivations, PairedDictionary

Stratum = Literal["top", "quantile", "random"]
STRATA: tuple[Stratum, ...] = ("top", "quantile", "random")


@dataclass(frozen=True)
class ExampleSizes:
    """How many examples of each stratum, and how wide."""

    top: int = 10
    quantile: int = 5
    random: int = 5
    pool: int = 32
    """Uniform sample of firing tokens that the random and the quantile examples are taken from."""
    before: int = 12
    """Tokens shown before the one that was chosen."""
    after: int = 6


@dataclass(frozen=True)
class Example:
    """One token that a latent fires on, and its surroundings."""

    latent: int
    stratum: Stratum
    rank: int
    document: int
    """Index in the corpus."""
    start: int
    """Place of the window's first token in the document."""
    position: int
    """Place of the chosen token in the window."""
    role: int
    """Index into `sae.types.ROLES`."""
    activation_WM: Float[Tensor, "W 2"]
    """Activation of each token of the window in both models; 0 where it is silent or the token was masked."""


def collect_examples(
    stream: Iterable[PairedActivations],
    dictionary: PairedDictionary,
    latents: Int[Tensor, " C"],
    *,
    joint: bool,
    seed: int,
    layer: int = 0,
    sizes: ExampleSizes | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> list[Example]:
    """Reads the stream once; memory is bounded by latents x examples, and by the longest document.

    Args:
        stream: activations in document order.
        dictionary: on the device that is to do the work.
        latents: the chosen ones.
        joint: the dictionary has one code for both models.
        seed: of the uniform sample, which does not depend on how the stream is cut.
        layer: index into the stream's hook points.
        sizes: how many examples.
        progress: called with the number of tokens just read.
    """
    if not len(latents):
        return []
    chooser = _Chooser(latents, sizes or ExampleSizes(), seed)
    held: list[_Piece] = []
    for piece in stream:
        for start in range(0, len(piece.x_NLMD), PIECE):
            for part in _by_document(_activations(piece, layer, start, dictionary, latents, joint=joint)):
                if held and held[-1].document != part.document:
                    chooser.add(_joined(held))
                    held = []
                held.append(part)
        progress(len(piece.x_NLMD))
    if held:
        chooser.add(_joined(held))
    return chooser.finish()


def activations(
    dictionary: PairedDictionary, x_NMD: Float[Tensor, "N 2 D"], latents: Int[Tensor, " C"], *, joint: bool
) -> Float[Tensor, "N C 2"]:
    """Activations of chosen latents in each model: own codes, or a joint code projected (see `sided`)."""
    codes, error = read(dictionary, x_NMD)
    code = codes[:, :, latents].transpose(1, 2)
    if not joint:
        return code
    rows = dictionary.decoder_FMD[latents].float()
    gram = rows @ rows.transpose(1, 2)
    own = gram.diagonal(dim1=1, dim2=2)
    pick = torch.arange(len(rows), device=rows.device)
    star = own.argmax(1)
    along = (error @ rows[pick, star].T).transpose(1, 2) + code * gram[pick, star]
    value = along / own[pick, star].clamp(min=torch.finfo(own.dtype).tiny)[:, None]
    return torch.where(code > 0, value.clamp(min=0), 0.0)


class _Piece(NamedTuple):
    """Consecutive tokens of one document."""

    document: int
    position_T: Tensor
    role_T: Tensor
    value_TCM: Tensor


class _Entry(NamedTuple):
    """An example that is kept so far; the larger key stays."""

    key: float
    order: int
    value: float
    document: int
    start: int
    position: int
    role: int
    window: Tensor


@torch.no_grad()
def _activations(
    piece: PairedActivations,
    layer: int,
    start: int,
    dictionary: PairedDictionary,
    latents: Tensor,
    *,
    joint: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    device, part = dictionary.decoder_FMD.device, slice(start, start + PIECE)
    x = piece.x_NLMD[part, layer].to(device).float()
    value = activations(dictionary, x, latents.to(device), joint=joint).cpu()
    info = piece.info
    return info.document_N[part].cpu(), info.position_N[part].cpu(), info.role_N[part].cpu(), value


def _by_document(columns: tuple[Tensor, Tensor, Tensor, Tensor]) -> Iterable[_Piece]:
    document, *rest = columns
    counts = torch.unique_consecutive(document, return_counts=True)[1].tolist()
    numbers = torch.split(document, counts)
    for number, *parts in zip(numbers, *(torch.split(column, counts) for column in rest), strict=True):
        yield _Piece(int(number[0]), *parts)


def _joined(held: list[_Piece]) -> _Piece:
    return _Piece(held[0].document, *(torch.cat([getattr(p, n) for p in held]) for n in _Piece._fields[1:]))


class _Chooser:
    """Heaps of the examples kept so far, per latent."""

    def __init__(self, latents: Tensor, sizes: ExampleSizes, seed: int) -> None:
        self.latents, self.sizes, self.seed = latents.tolist(), sizes, seed
        self.top: list[list[_Entry]] = [[] for _ in self.latents]
        self.pool: list[list[_Entry]] = [[] for _ in self.latents]
        self.order = 0

    def add(self, piece: _Piece) -> None:
        """Offers a whole document's tokens."""
        strength = piece.value_TCM.amax(2)
        best = strength.max(0)
        for place in (best.values > 0).nonzero().flatten().tolist():
            token = int(best.indices[place])
            self._offer(self.top[place], self.sizes.top, float(best.values[place]), piece, token, place)
        draw = torch.Generator().manual_seed((self.seed * 1_000_003 + piece.document) % 2**63)
        keys = torch.rand(strength.shape, generator=draw)
        keys = torch.where(strength > 0, keys, -1.0)
        chosen = keys.topk(min(self.sizes.pool, len(keys)), dim=0)
        bars = [heap[0].key if len(heap) >= self.sizes.pool else -0.5 for heap in self.pool]
        for row, place in (chosen.values > torch.tensor(bars)).nonzero().tolist():
            key, token = float(chosen.values[row, place]), int(chosen.indices[row, place])
            self._offer(self.pool[place], self.sizes.pool, key, piece, token, place)

    def _offer(
        self, heap: list[_Entry], size: int, key: float, piece: _Piece, token: int, place: int
    ) -> None:
        if size < 1 or (len(heap) >= size and key <= heap[0].key):
            return
        self.order += 1
        keep = heapq.heappush if len(heap) < size else heapq.heapreplace
        keep(heap, self._entry(key, piece, token, place))

    def _entry(self, key: float, piece: _Piece, token: int, place: int) -> _Entry:
        at = int(piece.position_T[token])
        start = max(0, at - self.sizes.before)
        window = torch.zeros(at + self.sizes.after + 1 - start, 2)
        near = (piece.position_T >= start) & (piece.position_T <= at + self.sizes.after)
        window[piece.position_T[near] - start] = piece.value_TCM[near, place].float()
        value, role = float(piece.value_TCM[token, place].amax()), int(piece.role_T[token])
        # -order: of two equal keys the earlier one stays
        return _Entry(key, -self.order, value, piece.document, start, at - start, role, window)

    def finish(self) -> list[Example]:
        """The examples, latent by latent and stratum by stratum, ranked from strong to weak."""
        found = []
        for place, latent in enumerate(self.latents):
            pool = sorted(self.pool[place], reverse=True)
            strata = (self.top[place], self._quantiles(pool[self.sizes.random :]), pool[: self.sizes.random])
            for stratum, entries in zip(STRATA, strata, strict=True):
                ranked = sorted(entries, key=lambda e: (-e.value, e.document, e.start + e.position))
                found += [_example(latent, stratum, rank, entry) for rank, entry in enumerate(ranked)]
        return found

    def _quantiles(self, pool: list[_Entry]) -> list[_Entry]:
        """Entries at evenly spaced ranks of their activation."""
        ranked, count = sorted(pool, key=lambda entry: entry.value), min(self.sizes.quantile, len(pool))
        return [ranked[int((i + 0.5) * len(ranked) / count)] for i in range(count)]


def _example(latent: int, stratum: Stratum, rank: int, entry: _Entry) -> Example:
    return Example(
        latent, stratum, rank, entry.document, entry.start, entry.position, entry.role, entry.window
    )
