"""Claims on the Delightful policy gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from training.claims.bench import Bench, efficiency, paired, superior
from training.claims.types import Claim, Finding, decide
from training.config import GRPOConfig
from training.registry import OBJECTIVES
from training.types import PromptBatch, Rollout, Scores

ARMS, CONTEXTS, WORLDS = 10, 20, 40


def closer_direction(bench: Bench) -> Finding:
    """Cosine of the expected gradient with that of cross-entropy on the best arm, on random bandits."""
    gains = [_gain(torch.Generator().manual_seed(seed)) for seed in range(WORLDS)]
    found = paired(gains)
    said = (
        f"cosine with the gradient to the best arm, {CONTEXTS} bandits of {ARMS} arms: {found.value:+.3f} "
        f"[{found.low:+.3f}, {found.high:+.3f}] against REINFORCE over {WORLDS} draws"
    )
    numbers = {"gain": found.value, "low": found.low, "high": found.high}
    return Finding(decide(found.low > 0), said, numbers)


def _gain(generator: torch.Generator) -> float:
    logits = 2 * torch.randn(CONTEXTS, ARMS, generator=generator, dtype=torch.float64)
    oracle = _best() - logits.softmax(dim=1)
    cosines = [
        torch.cosine_similarity(_expected(name, logits).flatten(), oracle.flatten(), dim=0)
        for name in ("delightful", "reinforce")
    ]
    return (cosines[0] - cosines[1]).item()


def _expected(name: str, logits: Tensor) -> Tensor:
    """Ascent direction in the logits, in expectation over arms; arm 0 pays 1, the baseline is the mean."""
    logits = logits.clone().requires_grad_()
    logp, shape = logits.log_softmax(dim=1).reshape(-1, 1), torch.ones(CONTEXTS * ARMS, 1, dtype=torch.bool)
    advantage = (_best() - logits.detach().softmax(dim=1)[:, :1]).reshape(-1)
    rollout = Rollout(PromptBatch(shape.long(), shape), 1, shape.long(), shape, logp.detach())
    terms = OBJECTIVES.make(name)(Scores(logp), rollout, advantage, GRPOConfig())
    loss = (terms.per_token * logp.detach().exp()).sum()
    return -torch.autograd.grad(loss, logits)[0]


def _best() -> Tensor:
    return torch.nn.functional.one_hot(torch.zeros(CONTEXTS, dtype=torch.long), ARMS)


def earns_more(bench: Bench) -> Finding:
    """What a run earns, on stale rollouts, for which the method has no correction."""
    return superior(bench, "delightful", "ppo", efficiency, "mean reward of a run")


CLAIMS = (
    Claim(
        "delightful",
        "paper",
        "over many bandits its expected gradient is closer to cross-entropy's than REINFORCE's is",
        "cosine of exact expected gradients with that of cross-entropy on the best arm",
        closer_direction,
    ),
    Claim(
        "delightful",
        "paper",
        "beats PPO",
        "exact reward over a run with stale rollouts, against PPO",
        earns_more,
    ),
)
