"""Claims on Dr. GRPO."""

from __future__ import annotations

import torch

from training.aggregate import BatchSize, aggregate
from training.claims.bench import Bench
from training.claims.types import Claim, Finding, decide
from training.config import GRPOConfig
from training.registry import OBJECTIVES
from training.types import PromptBatch, Rollout, Scores

SHORT, LONG = 4, 40


def by_length(bench: Bench) -> Finding:
    """How hard each token of a long wrong answer is pushed down, over a token of a short one."""
    ratios = {name: _push(name) for name in ("grpo", "dr_grpo")}
    holds = ratios["grpo"] < 0.99 and abs(ratios["dr_grpo"] - 1) < 1e-6
    said = f"a token of {LONG} is pushed {ratios['grpo']:.2f} times as hard as one of {SHORT} by grpo, "
    return Finding(decide(holds), said + f"{ratios['dr_grpo']:.2f} times by dr_grpo", ratios)


def _push(name: str) -> float:
    mask = torch.arange(LONG) < torch.tensor([[SHORT], [LONG]])
    logp = torch.full((2, LONG), -1.0).masked_fill(~mask, 0.0)
    rollout = Rollout(PromptBatch(mask[:, :1].long(), mask[:, :1]), 2, mask.long(), mask, logp)
    new, objective = logp.clone().requires_grad_(), OBJECTIVES.make(name)
    terms = objective(Scores(new), rollout, torch.tensor([-1.0, -1.0]), GRPOConfig())
    size = BatchSize(2, int(mask.sum()), LONG)
    loss = aggregate(terms.per_token, mask, objective.card.aggregation, size)
    (gradient,) = torch.autograd.grad(loss, new)
    return (gradient[1, 0] / gradient[0, 0]).item()


CLAIMS = (
    Claim(
        "dr_grpo",
        "paper",
        "GRPO's mean over a rollout's tokens spares long wrong answers; Dr. GRPO's constant does not",
        "gradient of one token of a long wrong answer over one of a short wrong answer",
        by_length,
    ),
)
