"""How far a token's probability moved: the words of every trust region.

Shapes: B rollouts, T tokens. `new` is log pi with gradient, `old` is log mu.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LOG_RATIO_LIMIT = 20.0
"""Ratios beyond e^20 count as e^20, without gradient, so that nothing overflows; verl does the same."""


def ratio_of(new: Float[Tensor, "B T"], old: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """The ratio pi / mu, at most e^20, with gradient."""
    return torch.exp((new - old).clamp(max=LOG_RATIO_LIMIT))


def in_range(new: Float[Tensor, "B T"], old: Float[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
    """Where `ratio_of` is the ratio itself and not its limit."""
    return (new - old) <= LOG_RATIO_LIMIT


def per_token(advantage: Tensor) -> Tensor:
    """Advantages as something that broadcasts over [B, T]: [B, 1] of one per rollout, [B, T] as they are."""
    return advantage if advantage.ndim == 2 else advantage[:, None]


def shift(new: Float[Tensor, "B T"], old: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """The change pi - mu of the sampled token; its size is the total variation of "this token or another"."""
    return torch.exp(new) - torch.exp(old)


def binary_kl(new: Float[Tensor, "B T"], old: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """KL(mu || pi) of "this token or another", nats: a lower bound of the KL over the vocabulary.

    DPPO, arXiv 2602.04879. The log of 1 - p is taken without cancellation near p = 1.
    """
    return torch.exp(old) * (old - new) + (-torch.expm1(old)) * (_log_other(old) - _log_other(new))


def believed(per_token_divergence: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> float:
    """A method's own estimate of how far whole rollouts moved: its divergence summed over each, averaged."""
    return (per_token_divergence.detach() * mask).sum(dim=1).mean().item()


def share(chosen: Bool[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> float:
    """Share of real tokens that are chosen."""
    return ((chosen & mask).sum() / mask.sum().clamp(min=1)).item()


def _log_other(logp: Tensor) -> Tensor:
    smallest = torch.finfo(logp.dtype).eps
    return torch.log((-torch.expm1(logp)).clamp(min=smallest))
