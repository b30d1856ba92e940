"""From a loss per token to one number: three ways, all divided by the size of the whole batch."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from training.types import Aggregation


@dataclass(frozen=True)
class BatchSize:
    """What one optimiser step averages over, all chunks and all processes together."""

    rollouts: int
    tokens: int
    """Real tokens."""
    new_tokens: int
    """Most tokens that a rollout may have."""


def aggregate(
    per_token: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], how: Aggregation, size: BatchSize
) -> Tensor:
    """A chunk's share of the batch's loss; the shares of all chunks add up to it.

    Args:
        per_token: loss of each token of the chunk.
        mask: true for its real tokens.
        how: `sequence_mean` (DeepSeekMath, arXiv 2402.03300, eq. 3), `token_mean` (DAPO, arXiv 2503.14476,
            eq. 8) or `constant` (Dr. GRPO, arXiv 2503.20783, section 3.2).
        size: of the whole batch.
    """
    if how == "sequence_mean":
        return sequence_mean(per_token, mask) * (len(mask) / max(size.rollouts, 1))
    total = (per_token * mask).sum()
    return total / max(size.tokens if how == "token_mean" else size.rollouts * size.new_tokens, 1)


def sequence_mean(per_token: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Tensor:
    """Mean over rollouts of each one's mean over its tokens. DeepSeekMath, arXiv 2402.03300, eq. 3."""
    return ((per_token * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()
