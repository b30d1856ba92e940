"""What can be done to the residual stream: a direction added or enlarged, writes of latents taken out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from audit.causal.arithmetic import added, enlarged

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


@dataclass(frozen=True, eq=False)
class Latents:
    """Latents of a dictionary whose writes are taken out of the residual stream."""

    dictionary: PairedDictionary
    layer: int
    indices: tuple[int, ...]
    base: Callable[[Float[Tensor, "B T D"]], Float[Tensor, "B T D"]] | None = None
    """For a dictionary whose codes read both models: the base's residual stream at the same tokens. None:
    the codes are the tuned model's own."""


def steered(h: Float[Tensor, "B T D"], steering: Steering, dose: float) -> Float[Tensor, "B T D"]:
    """The residual stream with dose x direction added, or with what it has along the direction enlarged."""
    if steering.centre is None:
        return added(h, steering.direction, dose)
    return enlarged(h, steering.direction, steering.centre, dose)


def without_latents(h: Float[Tensor, "B T D"], latents: Latents, dose: float) -> Float[Tensor, "B T D"]:
    """The residual stream less dose x f_j d_j of each chosen latent, f_j and d_j of the tuned side."""
    base = h if latents.base is None else latents.base(h).to(h)
    x_NMD = torch.stack([base, h], dim=-2).flatten(0, -3)
    indices = list(latents.indices)
    codes_NF = latents.dictionary.encode(x_NMD.float())[:, 1, indices]
    write_ND = codes_NF @ latents.dictionary.decoder_FMD[indices, 1].to(codes_NF)
    lessened: Tensor = h - (dose * write_ND).to(h.dtype).view_as(h)
    return lessened
