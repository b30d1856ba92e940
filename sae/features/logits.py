"""Which tokens a latent's decoder row speaks for, through each model's own final norm and unembedding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 16


@dataclass(frozen=True)
class Promoted:
    """Tokens that one decoder row raises most, or lowers most."""

    row: int
    sign: Literal["top", "bottom"]
    token_K: Int[Tensor, " K"]
    value_K: Float[Tensor, " K"]
    """W_U (gain * row): logits per unit of the row once the residual stream has rms 1."""


def promoted(model: PreTrainedModel, rows_RD: Float[Tensor, "R D"], count: int = 10) -> Iterator[Promoted]:
    """Top and bottom tokens of each row; rows of norm 0 speak for none and are left out.

    Args:
        model: whose final norm and unembedding are used; the norm's gain is folded into the row, a bias
            and the division by the residual's own size are left out.
        rows_RD: decoder rows of this model.
        count: tokens of each sign.
    """
    for start in range(0, len(rows_RD), ROWS):
        part = rows_RD[start : start + ROWS]
        logits = direct_logits(model, part)
        for place in (part.norm(dim=1) > 0).nonzero().flatten().tolist():
            top = logits[place].topk(min(count, logits.shape[1]))
            low = logits[place].topk(min(count, logits.shape[1]), largest=False)
            yield Promoted(start + place, "top", top.indices, top.values)
            yield Promoted(start + place, "bottom", low.indices, low.values)


@torch.no_grad()
def direct_logits(model: PreTrainedModel, rows_RD: Float[Tensor, "R D"]) -> Float[Tensor, "R V"]:
    """W_U (gain * row) on the CPU in float32."""
    plain: Any = model
    head = plain.get_output_embeddings()
    weight = getattr(head, "base_layer", head).weight
    folded = fold(final_norm(model), rows_RD.to(weight.device).float())
    logits: Tensor = folded.to(weight.dtype) @ weight.T
    return logits.float().cpu()


def fold(norm: nn.Module, rows_RD: Float[Tensor, "R D"]) -> Float[Tensor, "R D"]:
    """Rows times the norm's gain (centred first by a LayerNorm), read off the module itself.

    norm(x) - norm(0) = gain * (x - centre) / size(x): multiplied by the size it is linear in x, whatever the
    module calls its gain (Gemma's is 1 + weight).
    """
    kind = next((p.dtype for p in norm.parameters()), rows_RD.dtype)
    centred = rows_RD - rows_RD.mean(1, keepdim=True) if isinstance(norm, nn.LayerNorm) else rows_RD
    size = centred.square().mean(1, keepdim=True).sqrt()
    unit = centred / size.clamp(min=torch.finfo(torch.float32).tiny)
    out: Tensor = norm(unit.to(kind)) - norm(torch.zeros_like(unit, dtype=kind))
    return out.float() * size


def final_norm(model: PreTrainedModel) -> nn.Module:
    """The norm between the last block and the unembedding.

    Raises:
        ValueError: the decoder has no norm among its own children.
    """
    plain: Any = model
    decoder: nn.Module = plain.base_model
    norms = [child for child in decoder.children() if "norm" in type(child).__name__.lower()]
    if not norms:
        raise ValueError(f"{type(decoder).__name__} has no final norm")
    return norms[-1]
