"""The active latents of a batch and what their decoder rows see: work per active latent, never F per token.

Shapes: N tokens, F latents, P active (token, latent) pairs. Axis `p` of a product is the side whose decoder
row probes, axis `m` the model that is probed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae.types import PairedDictionary

CHUNK = 1 << 20
"""Numbers gathered at once per side: keeps the gathered decoder rows in the cache."""


@runtime_checkable
class Carrying(Protocol):
    """A dictionary that passes a part of the activations through, as a difference SAE does with the base."""

    def carried(self, x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """The part that is passed through."""
        ...


class Read(NamedTuple):
    """What a dictionary makes of some activations, float32."""

    codes_NMF: Float[Tensor, "N 2 F"]
    error_NMD: Float[Tensor, "N 2 D"]
    """x - x̂ per model."""


class Active(NamedTuple):
    """Pairs of a token and a latent that has a code there on at least one side."""

    token_P: Int[Tensor, " P"]
    latent_P: Int[Tensor, " P"]
    code_PM: Float[Tensor, "P 2"]


class Products(NamedTuple):
    """Inner products of active latents' decoder rows, [p, m] = <d^p, y^m>."""

    active: Active
    error_Ppm: Float[Tensor, "P 2 2"]
    raw_Ppm: Float[Tensor, "P 2 2"]


def read(dictionary: PairedDictionary, x_NMD: Float[Tensor, "N 2 D"]) -> Read:
    """Codes and errors of both models."""
    x = x_NMD.float()
    codes = dictionary.encode(x)
    error = x - dictionary.decode(codes)
    if isinstance(dictionary, Carrying):
        error = error - dictionary.carried(x)
    return Read(codes, error)


def active_pairs(codes_NMF: Float[Tensor, "N 2 F"], *, joint: bool) -> Active:
    """The pairs with a code, in the order of their tokens.

    Args:
        codes_NMF: codes >= 0 of both sides.
        joint: both sides share one code (crosscoders), so one side is looked at.
    """
    on = codes_NMF[:, 0] > 0 if joint else (codes_NMF > 0).any(1)
    token, latent = on.nonzero(as_tuple=True)
    return Active(token, latent, codes_NMF[token, :, latent])


def products(
    active: Active,
    error_NMD: Float[Tensor, "N 2 D"],
    x_NMD: Float[Tensor, "N 2 D"],
    decoder_FMD: Float[Tensor, "F 2 D"],
) -> Iterator[Products]:
    """Inner products of each active latent's two rows with both models' errors and activations, in chunks."""
    targets = torch.cat([error_NMD, x_NMD.float()], dim=1)  # [N, 4, D]
    size = max(1, CHUNK // decoder_FMD[0].numel())
    for start in range(0, len(active.token_P), size):
        part = Active(*(column[start : start + size] for column in active))
        seen = torch.bmm(decoder_FMD[part.latent_P], targets[part.token_P].transpose(1, 2))
        yield Products(part, seen[..., :2], seen[..., 2:])
