"""One method on one task with one learning rate and one seed, everything measured exactly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.compare.config import ComparisonConfig
from training.compare.experience import Experience, experiences, half
from training.compare.methods import Method
from training.config import GRPOConfig
from training.divergence import ratio_of
from training.envs.exact import World, kl, list_all, token_logp, total_variation
from training.envs.types import Task
from training.types import LossTerms, Rollout, Scores

ATTENUATED = 0.1
"""A kept token counts as attenuated where its weight is off its ratio by more than this share."""
LOOP = GRPOConfig()
"""Settings of the loop that GRPO without a clip of its own falls back to."""


@dataclass
class Trace:
    """What one run left behind; lists have one entry per batch."""

    task: str
    method: str
    learning_rate: float
    seed: int
    reward: list[float] = field(default_factory=list)
    """Exact expected reward after the batch; the first entry is before any."""
    entropy: list[float] = field(default_factory=list)
    """Of whole completions, nats; likewise."""
    tv: list[float] = field(default_factory=list)
    """Exact total variation, over whole completions, of the sampler and the policy after its last update."""
    kl: list[float] = field(default_factory=list)
    """KL(sampler || policy) over whole completions, nats, at the same moment."""
    believed: list[float | None] = field(default_factory=list)
    """The method's own estimate of how far it moved, then; None where it has none."""
    variance: list[float] = field(default_factory=list)
    """Variance of the batch's gradient, from its halves, at the last update."""
    signal: list[float] = field(default_factory=list)
    """Squared norm of that gradient."""
    cut: list[list[float]] = field(default_factory=list)
    """Share of tokens without gradient by position, over the batch's stale updates."""
    attenuated: list[list[float]] = field(default_factory=list)
    """Share of kept tokens whose weight is not their ratio by position, likewise."""
    updates: int = 0
    seconds: float = 0.0


def run_controlled(
    task: Task, method: Method, learning_rate: float, seed: int, config: ComparisonConfig
) -> Trace:
    """Trains a fresh policy and measures it after every batch; no randomness but the seed's."""
    clock = time.perf_counter()
    world, policy = list_all(task), task.policy(seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    stream = experiences(task, world, policy, method.advantage, config, generator)
    trace = Trace(task.name, method.label, learning_rate, seed)
    _record_policy(trace, world.log_probability(policy), world)
    for _ in range(config.batches):
        _one_batch(trace, world, policy, optimizer, method, config, stream)
    trace.updates, trace.seconds = config.updates, time.perf_counter() - clock
    return trace


def _one_batch(
    trace: Trace,
    world: World,
    policy: nn.Module,
    optimizer: torch.optim.Optimizer,
    method: Method,
    config: ComparisonConfig,
    stream: Iterator[Experience],
) -> None:
    terms: list[tuple[LossTerms, Rollout, Tensor]] = []
    for last in [False] * config.staleness + [True]:
        experience = next(stream)
        optimizer.zero_grad(set_to_none=True)
        if last:
            measure_gradient(trace, policy, method, experience)
        found, new = policy_loss(policy, method, experience.rollout, experience.advantage)
        found.per_token.mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if experience.age or not config.staleness:
            terms.append((found, experience.rollout, new.detach()))
        nn.utils.clip_grad_norm_(policy.parameters(), config.gradient_clip)
        optimizer.step()
    logp = world.log_probability(policy)
    _record_policy(trace, logp, world)
    trace.tv.append(total_variation(experience.sampler, logp))
    trace.kl.append(kl(experience.sampler, logp))
    with torch.no_grad():
        after, _ = policy_loss(policy, method, experience.rollout, experience.advantage)
    trace.believed.append(after.diagnostics.get("believed"))
    _record_tokens(trace, terms)


def policy_loss(
    policy: nn.Module, method: Method, rollout: Rollout, advantage: Tensor
) -> tuple[LossTerms, Float[Tensor, "B T"]]:
    """What a method asks for on rollouts, and the tokens' log-probabilities now, both with gradient."""
    prompt = rollout.prompts.ids[:, 0].repeat_interleave(rollout.group_size)
    logp = token_logp(policy, prompt, rollout.tokens)
    return method.objective(Scores(logp), rollout, advantage, LOOP), logp


def _record_policy(trace: Trace, logp: Tensor, world: World) -> None:
    trace.reward.append(world.mean_reward(logp))
    trace.entropy.append(world.entropy(logp))


def measure_gradient(trace: Trace, policy: nn.Module, method: Method, experience: Experience) -> None:
    """Variance of the mean of two independent halves: |g1 - g2|^2 / 4, without bias."""
    gradients = []
    for second in (False, True):
        part, rows = half(experience.rollout, second)
        terms, _ = policy_loss(policy, method, part, experience.advantage[rows])
        found = torch.autograd.grad(terms.per_token.mean(), list(policy.parameters()))
        gradients.append(torch.cat([value.flatten() for value in found]))
    first, other = gradients
    trace.variance.append(((first - other).square().sum() / 4).item())
    trace.signal.append(((first + other) / 2).square().sum().item())


def _record_tokens(trace: Trace, terms: list[tuple[LossTerms, Rollout, Tensor]]) -> None:
    cut, attenuated = [], []
    for found, rollout, new in terms:
        ratio = ratio_of(new, rollout.sampler_logp)
        off = ((found.weight / ratio - 1).abs() > ATTENUATED) & found.keep
        cut.append((~found.keep).float().mean(dim=0))
        attenuated.append(off.float().mean(dim=0))
    trace.cut.append(torch.stack(cut).mean(dim=0).tolist())
    trace.attenuated.append(torch.stack(attenuated).mean(dim=0).tolist())
