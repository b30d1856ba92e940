"""Variance of the gradient of two methods on the same stale batches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from training.claims.bench import Bench, paired
from training.compare.controlled import Trace, measure_gradient, policy_loss
from training.compare.experience import Experience, experiences
from training.compare.methods import Method, parse_method, parse_tasks
from training.envs.exact import list_all
from training.envs.types import Task


@dataclass(frozen=True)
class Change:
    """Relative change of the variance over the squared mean gradient, with its 95 % interval over runs."""

    value: float
    low: float
    high: float
    states: int
    """Stale batches on which both were measured."""


def relative_variances(bench: Bench, first: str, second: str) -> Change:
    """Both methods' gradient noise along one run of the second, which alone moves the policy."""
    changes, states = [], 0
    for task in parse_tasks(bench.config.task):
        for seed in range(bench.config.seeds):
            ours, theirs = _along(task, parse_method(first), parse_method(second), seed, bench)
            noise = [sum(t.variance) / max(sum(t.signal), 1e-30) for t in (ours, theirs)]
            changes.append(noise[0] / max(noise[1], 1e-30) - 1)
            states += len(ours.variance)
    found = paired(changes)
    return Change(found.value, found.low, found.high, states)


def _along(task: Task, first: Method, second: Method, seed: int, bench: Bench) -> tuple[Trace, Trace]:
    config, rate = replace(bench.config, stale="epochs"), task.learning_rates[0]
    world, policy = list_all(task), task.policy(seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    stream = experiences(task, world, policy, second.advantage, config, generator)
    traces = Trace(task.name, first.label, rate, seed), Trace(task.name, second.label, rate, seed)
    for _ in range(config.updates):
        experience = next(stream)
        if experience.age == config.staleness:
            for trace, method in zip(traces, (first, second), strict=True):
                measure_gradient(trace, policy, method, experience)
        _update(policy, optimizer, second, experience)
    return traces


def _update(
    policy: nn.Module, optimizer: torch.optim.Optimizer, method: Method, experience: Experience
) -> None:
    optimizer.zero_grad(set_to_none=True)
    terms, _ = policy_loss(policy, method, experience.rollout, experience.advantage)
    terms.per_token.mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    optimizer.step()
