"""A lying reward on the copying task: its truth is known, so the reward can be seen to part from it."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from training.compare.config import ComparisonConfig
from training.compare.controlled import policy_loss
from training.compare.methods import parse_method
from training.divergence import per_token
from training.envs.copying import Copying
from training.envs.exact import sample
from training.rewards_that_lie.curve import Point
from training.rewards_that_lie.lies import Judge
from training.types import PromptBatch, Rewarded, Rollout


def train_on_lies(
    judge: Judge,
    task: Copying,
    *,
    method: str = "grpo",
    learning_rate: float = 3e-3,
    seed: int = 0,
    config: ComparisonConfig,
) -> list[Point]:
    """Trains a fresh policy on a judge's proxy; one point per batch, measured before its updates.

    Args:
        judge: sees digits as text.
        task: what is meant; its questions are the right answers.
        method: as `audit train compare` names it.
        learning_rate: of Adam.
        seed: of the policy and of the rollouts.
        config: sizes; each batch is used for staleness + 1 updates.
    """
    chosen, policy = parse_method(method), task.policy(seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    points = []
    for step in range(config.batches):
        question = torch.randint(task.prompts, (config.groups,), generator=generator)
        prompt = question.repeat_interleave(config.group_size)
        tokens, logp = sample(policy, prompt, task.sizes, generator)
        proxy, truth = _judged(judge, task, question, tokens, config.group_size)
        points.append(Point(step, proxy.mean().item(), truth.mean().item()))
        mask = torch.ones_like(tokens, dtype=torch.bool)
        batch = PromptBatch(question[:, None], mask[: len(question), :1])
        rollout = Rollout(batch, config.group_size, tokens, mask, logp)
        advantage = chosen.advantage(Rewarded(proxy, config.group_size)).value
        for _ in range(config.staleness + 1):
            optimizer.zero_grad(set_to_none=True)
            terms, _ = policy_loss(policy, chosen, rollout, per_token(advantage))
            terms.per_token.mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(policy.parameters(), config.gradient_clip)
            optimizer.step()
    return points


def _judged(
    judge: Judge, task: Copying, question: Int[Tensor, " P"], tokens: Int[Tensor, "B T"], size: int
) -> tuple[Tensor, Tensor]:
    proxy, truth = list[float](), list[float]()
    for place, number in enumerate(question.tolist()):
        texts = [as_text(row) for row in tokens[place * size : (place + 1) * size].tolist()]
        answer = as_text(task.questions[number].tolist())
        proxy += judge.proxy(texts, answer)
        truth += judge.truth(texts, answer)
    return torch.tensor(proxy), torch.tensor(truth)


def as_text(digits: list[int]) -> str:
    """Digits as the judges read them."""
    return "".join(map(str, digits))
