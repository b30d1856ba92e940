"""How far a model's activations lie from the base's, on the text on which the KLs are matched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from sae.hooks import capture
from sae.types import Pair
from training.finetune import padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Rows = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ShiftProbe:
    """Texts and the base's activations on them, kept to hold other models against."""

    batches: tuple[Rows, ...]
    layers: tuple[int, ...]
    base: tuple[Float[Tensor, "L N D"], ...]

    @classmethod
    def of(cls, pair: Pair, batches: tuple[Rows, ...], layers: Sequence[int]) -> ShiftProbe:
        """Reads the texts with the base."""
        with pair.model("base") as model:
            return cls(batches, tuple(layers), tuple(_read(model, layers, batch) for batch in batches))

    def shift(self, model: PreTrainedModel) -> float:
        """Mean over the layers of the squared distance from the base over the base's own variance."""
        base = torch.cat(self.base, dim=1)
        now = torch.cat([_read(model, self.layers, batch) for batch in self.batches], dim=1)
        spread = (base - base.mean(1, keepdim=True)).square().sum((1, 2))
        return float(((now - base).square().sum((1, 2)) / spread).mean())


def _read(model: PreTrainedModel, layers: Sequence[int], batch: Rows) -> Float[Tensor, "L N D"]:
    ids, mask = padded(batch, model.device)
    return capture(model, layers, ids, mask)[:, mask.bool()].float().cpu()
