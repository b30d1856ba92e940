"""One token under an objective: what a change of its probability does to its gradient."""

from __future__ import annotations

import torch

from training.config import GRPOConfig
from training.registry import OBJECTIVES
from training.types import LossTerms, PromptBatch, Rollout, Scores


def one_token(method: str, mu: float, pi: float, advantage: float, **settings: float) -> LossTerms:
    """The loss terms of a token that moved from probability mu to pi, in double precision."""
    old, new = (torch.tensor([[p]], dtype=torch.float64).log() for p in (mu, pi))
    shape = torch.ones(1, 1, dtype=torch.bool)
    rollout = Rollout(PromptBatch(shape.long(), shape), 1, shape.long(), shape, old)
    objective = OBJECTIVES.make(method, settings)
    return objective(Scores(new), rollout, torch.tensor([advantage], dtype=torch.float64), GRPOConfig())


def kept(method: str, mu: float, pi: float, advantage: float, **settings: float) -> bool:
    """Whether such a token still trains."""
    return bool(one_token(method, mu, pi, advantage, **settings).keep)


def weight(method: str, mu: float, pi: float, advantage: float, **settings: float) -> float:
    """How hard it trains."""
    return one_token(method, mu, pi, advantage, **settings).weight.item()
