"""Which latents come back when the dictionary is trained from another seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

RECURS = 0.7
"""Cosine above which latents of two dictionaries count as one."""
IMMATERIAL = 0.3
"""A side whose decoder norm is below this share of the other's says nothing of a latent's direction."""
ROTATION_BAR = 0.7
"""Largest cosine of base and tuned rows that may be called rotated."""
ROWS = 1024


class Matches(NamedTuple):
    """One-to-one partners of a dictionary's latents in another."""

    partner_F: Int[Tensor, " F"]
    """Index in the other dictionary, -1 without one."""
    cosine_F: Float[Tensor, " F"]
    """The smaller cosine over the models in which the latent has a material row; NaN without a partner."""


def matches(decoder_FMD: Float[Tensor, "F 2 D"], other_GMD: Float[Tensor, "G 2 D"]) -> Matches:
    """Mutual nearest neighbours by the cosine that both models reach; never F x G at once.

    Latents with rows of norm 0 in both models have no partner.
    """
    best, cosine = _nearest(decoder_FMD, other_GMD)
    back, _ = _nearest(other_GMD, decoder_FMD)
    mutual = (best >= 0) & (back[best.clamp(min=0)] == torch.arange(len(best)))
    return Matches(torch.where(mutual, best, -1), torch.where(mutual, cosine, torch.nan))


def recurrence(found: Sequence[Matches], bar: float = RECURS) -> Float[Tensor, " F"] | None:
    """Share of the other seeds in which each latent has a partner above the bar; None without other seeds."""
    if not found:
        return None
    return torch.stack([(match.cosine_F >= bar).double() for match in found]).mean(0)


def rotation_bar(
    decoder_FMD: Float[Tensor, "F 2 D"], others: Sequence[Tensor], live_F: Bool[Tensor, " F"]
) -> float:
    """Cosine of base and tuned rows below which a latent may be called rotated.

    A direction is only known as well as it comes back: the bar is the 5 % quantile, over latents that recur,
    of the cosine between one model's row and the same model's row from another seed, and at most
    `ROTATION_BAR`. Without recurring latents `ROTATION_BAR` itself.
    """
    seen = []
    for other in others:
        match = matches(decoder_FMD, other)
        kept = (match.cosine_F >= RECURS) & live_F
        seen.append(match.cosine_F[kept])
    values = torch.cat(seen) if seen else torch.empty(0)
    return min(ROTATION_BAR, float(values.quantile(0.05))) if len(values) else ROTATION_BAR


def _nearest(rows_FMD: Tensor, other_GMD: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest latent of the other dictionary (-1 for rows of norm 0) and its cosine."""
    unit, material = _units(rows_FMD)
    target, present = _units(other_GMD)
    index, cosine = [], []
    for start in range(0, len(unit), ROWS):
        part, needed = unit[start : start + ROWS], material[start : start + ROWS]
        similar = torch.full((len(part), len(target)), 2.0)
        for side in range(2):
            wanted = needed[:, None, side] | present[None, :, side]
            here = part[:, side] @ target[:, side].T
            similar = torch.where(wanted, torch.minimum(similar, here), similar)
        similar = torch.where(similar > 1.5, -1.0, similar)
        top = similar.max(1)
        index.append(torch.where(needed.any(1), top.indices, -1))
        cosine.append(torch.where(needed.any(1), top.values, torch.nan))
    return torch.cat(index), torch.cat(cosine)


def _units(rows_FMD: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of norm 1 and whether each says something: it has a norm, and not far below the other side's."""
    norm = rows_FMD.norm(dim=-1)
    unit = rows_FMD / norm.clamp(min=torch.finfo(rows_FMD.dtype).tiny)[..., None]
    return unit.cpu(), ((norm > 0) & (norm >= IMMATERIAL * norm.amax(1, keepdim=True))).cpu()
