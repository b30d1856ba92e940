"""What can be done to the residual stream: a direction added or enlarged, writes of latents taken out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from audit.causal.arithmetic import added, enlarged, rewired

if TYPE_CHECKING:
    from sae.types import PairedDictionary


@dataclass(frozen=True, eq=False)
class Steering:
    """A direction that is added to the residual stream."""

    layer: int
    """Block whose output it is added to."""
    direction: Float[Tensor, " D"]
    """In the units of the residual stream, of the tuned model's own activations."""
    centre: Float[Tensor, " D"] | None = None
    """amplify: the point from which differences along the direction are made larger. They count at most as
    much as the direction is long, so that outlier tokens move by no more than that."""
    write: Float[Tensor, " D"] | None = None
    """rewire: what is written, per half of the direction's length that is read."""


@dataclass(frozen=True, eq=False)
class Latents:
    """Latents of a dictionary whose writes are taken out of the residual stream."""

    dictionary: PairedDictionary
    layer: int
    indices: tuple[int, ...]
    bound: float = math.inf
    """Positions with a larger norm are left alone: the dictionary was not made for them."""
    strengths: tuple[float, ...] | None = None
    """How many times over each latent's write is taken out; a control. None: once."""
    base: Callable[[Float[Tensor, "B T D"]], Float[Tensor, "B T D"]] | None = None
    """For a dictionary whose codes read both models: the base's residual stream at the same tokens. None:
    the codes are the tuned model's own, see `own_codes`."""

    def __post_init__(self) -> None:
        if self.strengths is not None and len(self.strengths) != len(self.indices):
            raise ValueError("latents have one strength each, or none")


def steered(h: Float[Tensor, "B T D"], steering: Steering, dose: float) -> Float[Tensor, "B T D"]:
    """The residual stream with dose x direction added, or with what it has along it enlarged or written."""
    if steering.centre is None:
        return added(h, steering.direction, dose)
    if steering.write is not None:
        return rewired(h, steering.direction, steering.centre, steering.write, dose)
    return enlarged(h, steering.direction, steering.centre, dose)


def own_codes(dictionary: PairedDictionary, h_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N F"]:
    """Codes of the tuned side from the tuned model alone: a crosscoder reads its stream in both places."""
    return dictionary.encode(torch.stack([h_ND, h_ND], dim=-2).float())[:, 1]


def without_latents(h: Float[Tensor, "B T D"], latents: Latents, dose: float) -> Float[Tensor, "B T D"]:
    """The residual stream less dose x f_j d_j of each chosen latent, f_j and d_j of the tuned side."""
    indices, h_ND = list(latents.indices), h.flatten(0, -2)
    if latents.base is None:
        codes_NK = own_codes(latents.dictionary, h_ND)[:, indices]
    else:
        x_NMD = torch.stack([latents.base(h).to(h).flatten(0, -2), h_ND], dim=-2)
        codes_NK = latents.dictionary.encode(x_NMD.float())[:, 1, indices]
    if latents.strengths is not None:
        codes_NK = codes_NK * torch.tensor(latents.strengths).to(codes_NK)
    inside_N = torch.linalg.vector_norm(h_ND, dim=-1, dtype=torch.float32) <= latents.bound
    codes_NK = codes_NK * inside_N[:, None]
    write_ND = codes_NK @ latents.dictionary.decoder_FMD[indices, 1].to(codes_NK)
    lessened: Tensor = h - (dose * write_ND).to(h.dtype).view_as(h)
    return lessened
