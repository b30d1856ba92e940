"""Rollouts that grow old: several updates on one batch, or an actor that lags behind."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.compare.config import ComparisonConfig
from training.envs.exact import World, sample
from training.envs.types import Task
from training.types import Advantage, PromptBatch, Rewarded, Rollout


@dataclass(frozen=True)
class Experience:
    """What one update learns from."""

    rollout: Rollout
    advantage: Tensor
    sampler: Float[Tensor, "P M"]
    """Log-probability of every completion under the policy that sampled."""
    age: int
    """Updates since then."""


def experiences(
    task: Task,
    world: World,
    policy: nn.Module,
    advantage: Advantage,
    config: ComparisonConfig,
    generator: torch.Generator,
) -> Iterator[Experience]:
    """One experience per update, without end; the caller updates the policy in between.

    With `stale="epochs"` the ages are 0 to staleness, over and over; with `stale="actor"` the sampler is the
    policy of `staleness` updates ago, or the first one where there have not been as many.
    """

    def draw(actor: nn.Module, age: int) -> Experience:
        rollout, value = collect(task, actor, advantage, config, generator)
        return Experience(rollout, value, world.log_probability(actor), age)

    if config.stale == "epochs":
        while True:
            fresh = draw(policy, 0)
            for age in range(config.staleness + 1):
                yield Experience(fresh.rollout, fresh.advantage, fresh.sampler, age)
    past: deque[nn.Module] = deque(maxlen=config.staleness + 1)
    while True:
        past.append(copy.deepcopy(policy))
        yield draw(past[0], len(past) - 1)


def collect(
    task: Task,
    actor: nn.Module,
    advantage: Advantage,
    config: ComparisonConfig,
    generator: torch.Generator,
) -> tuple[Rollout, Tensor]:
    """Groups of rollouts of random prompts and their advantages."""
    sizes = task.sizes
    question = torch.randint(sizes.prompts, (config.groups,), generator=generator)
    prompt = question.repeat_interleave(config.group_size)
    tokens, logp = sample(actor, prompt, sizes, generator)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    found = advantage(Rewarded(task.reward(prompt, tokens), config.group_size, mask=mask))
    batch = PromptBatch(question[:, None], torch.ones(config.groups, 1, dtype=torch.bool))
    return Rollout(batch, config.group_size, tokens, mask, logp), found.value


def half(rollout: Rollout, second: bool) -> tuple[Rollout, slice]:
    """The first or second half of a rollout's groups, and which rows these are."""
    groups = len(rollout.prompts.ids) // 2
    rows = groups * rollout.group_size
    part, kept = (slice(groups, None), slice(rows, None)) if second else (slice(groups), slice(rows))
    prompts = PromptBatch(rollout.prompts.ids[part], rollout.prompts.mask[part])
    cut = (rollout.tokens[kept], rollout.mask[kept], rollout.sampler_logp[kept])
    return Rollout(prompts, rollout.group_size, *cut), kept
