"""How well a dictionary explains activations: FVE per model, L0, dead latents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sae.dictionaries.paired import PairedCoder
from sae.dictionaries.shared import SharedSAE
from sae.errors import DictionaryError

AnyDictionary = PairedCoder | SharedSAE


@dataclass(frozen=True)
class Health:
    """Numbers of a dictionary on some tokens; pairs are (base, tuned)."""

    fve: tuple[float | None, float | None]
    """1 - |x - x̂|^2 / |x - mean|^2 per model; None where there is nothing to explain (the base's side of a
    difference SAE)."""
    l0: tuple[float, float]
    """Latents with a code per token."""
    dead: float
    """Share of the latents that never fired on these tokens, on either side."""
    tokens: int
    held_out: bool
    """Whether the tokens were kept from training."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class TrainedDictionary:
    """A dictionary in raw units, and how well it does."""

    dictionary: AnyDictionary
    health: Health


@torch.no_grad()
def health_of(dictionary: AnyDictionary, stream: Iterable[Tensor], *, held_out: bool) -> Health:
    """Measures a dictionary in one pass, sums in float64.

    Args:
        dictionary: on its device; codes are compared with zero.
        stream: pieces x_NMD [n, 2, D].
        held_out: whether these tokens were kept from training; only told on.

    Raises:
        DictionaryError: the stream is empty.
    """
    device = dictionary.decoder_FMD.device
    pieces = (_sums(dictionary, piece.to(device, torch.float32)) for piece in stream)
    sums = next(pieces, None)
    if sums is None:
        raise DictionaryError("there are no tokens to measure on", where="held_out", fix="use more text")
    for piece in pieces:
        sums = _Sums(*(a + b for a, b in zip(sums, piece, strict=True)))
    count = int(sums.tokens)
    variance = (sums.squares_M - sums.total_MD.square().sum(-1) / count).tolist()
    explained = [
        1 - missed / there if there > 1e-12 * all_ else None
        for missed, there, all_ in zip(sums.missed_M.tolist(), variance, sums.squares_M.tolist(), strict=True)
    ]
    base, tuned = (sums.active_M / count).tolist()
    dead = float((sums.fired_F == 0).double().mean())
    return Health((explained[0], explained[1]), (base, tuned), dead, count, held_out)


class _Sums(NamedTuple):
    missed_M: Tensor
    squares_M: Tensor
    total_MD: Tensor
    active_M: Tensor
    fired_F: Tensor
    tokens: Tensor


def _sums(dictionary: AnyDictionary, x_NMD: Float[Tensor, "N 2 D"]) -> _Sums:
    codes, target = dictionary.encode_sparse(x_NMD), x_NMD - dictionary.carried(x_NMD)
    active = codes.indices >= 0
    fired = torch.bincount(codes.indices[active], minlength=dictionary.latents)
    return _Sums(
        (target - dictionary.decode_sparse(codes)).double().square().sum((0, 2)),
        target.double().square().sum((0, 2)),
        target.double().sum(0),
        active.sum((0, -1)).expand(2),
        fired,
        torch.tensor(len(x_NMD)),
    )
