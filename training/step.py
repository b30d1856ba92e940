"""One optimiser step: the batch's surrogate plus the KL to the reference, applied and recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from training.aggregate import BatchSize, aggregate
from training.collect import Batch, Chunk
from training.config import GRPOConfig, LoopConfig
from training.critic import ValueHead, score_with_values, squared_error
from training.errors import TrainingError
from training.memory import memory_for
from training.model import CausalLM, trained
from training.records import StepRecord, TokenColumns, join_columns, side_by_side, token_columns
from training.reference import Reference
from training.scoring import score
from training.team import ALONE, Team
from training.types import Aggregation, LossTerms, Objective, Scores


@dataclass(frozen=True)
class Learner:
    """What a step changes and what it needs for that."""

    model: CausalLM
    objective: Objective
    optimizer: torch.optim.Optimizer
    reference: Reference
    choices: torch.Generator
    """Chooses the reference texts of each step."""
    config: LoopConfig
    critic: ValueHead | None = None
    team: Team = ALONE

    @property
    def aggregation(self) -> Aggregation:
        """How tokens are averaged."""
        chosen = self.config.aggregation
        return self.objective.card.aggregation if chosen == "card" else chosen


@dataclass(frozen=True)
class Surrogate:
    """What the objective said about a batch; its gradient is already in the parameters."""

    loss: float
    diagnostics: dict[str, float]
    tokens: TokenColumns


def take_step(learner: Learner, batch: Batch, step: int) -> StepRecord:
    """One optimiser step on a batch; without a live group the policy stays as it is.

    Raises:
        TrainingError: loss or gradient is no longer finite, memory runs out, or the sampler is not the policy
            that trains.
    """
    config, optimizer = learner.config, learner.optimizer
    rate = learning_rate(config, step)
    optimizer.zero_grad(set_to_none=True)
    with memory_for("the backward pass", config, "groups_per_pass", "group_size", "new_tokens", "kl_batch"):
        surrogate = _of_team(backward_surrogate(learner, batch, step), batch, learner.team)
        kl = _backward_kl(learner)
    check_canary(learner, surrogate.tokens)
    norm = _clip(learner)
    loss = surrogate.loss + config.kl_weight * kl
    if not torch.tensor([loss, norm]).isfinite().all():
        raise TrainingError("the loss is no longer finite", where=f"step {step}", fix="lower learning_rate")
    if batch.live_groups:
        _update(learner, rate, step)
    return StepRecord(
        step=step,
        channels=batch.channels,
        dead_groups=1 - batch.live_groups / batch.sampled_groups,
        sampled_groups=batch.sampled_groups,
        live_groups=batch.live_groups,
        exact_kl=kl,
        loss=loss,
        gradient_norm=norm,
        learning_rate=rate,
        diagnostics=surrogate.diagnostics,
        tokens=surrogate.tokens,
    )


def backward_surrogate(learner: Learner, batch: Batch, step: int) -> Surrogate:
    """Adds the gradient of this process's share of the surrogate to the parameters, chunk by chunk."""
    size = _size(batch, learner)
    loss, group, parts = 0.0, 0, list[TokenColumns]()
    diagnostics: dict[str, float] = {}
    for chunk in batch.chunks:
        new, terms = _terms(learner, chunk)
        part = aggregate(terms.per_token, chunk.rollout.mask, learner.aggregation, size)
        named = dict(terms.diagnostics)
        if new.values is not None and chunk.returns is not None:
            error = squared_error(new.values, chunk.returns, chunk.rollout.mask)
            part = part + learner.config.value_weight * aggregate(
                error, chunk.rollout.mask, "token_mean", size
            )
            named["value_error"] = (error.sum() / chunk.rollout.mask.sum().clamp(min=1)).item()
        part.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        loss += part.item()
        share = len(chunk.advantage) / size.rollouts
        for name, value in named.items():
            diagnostics[name] = diagnostics.get(name, 0.0) + value * share
        parts.append(token_columns(step, chunk.rollout, terms, new.logp.detach(), chunk.advantage, group))
        group += len(chunk.rollout.prompts.ids)
    return Surrogate(loss, diagnostics, join_columns(parts))


def check_canary(learner: Learner, tokens: TokenColumns) -> None:
    """Before the first update sampler and trainer are one policy, and must say the same of the same tokens.

    Raises:
        TrainingError: they do not, so every ratio of the run would be wrong.
    """
    if learner.optimizer.state or not tokens:
        return
    gap = float(np.abs(tokens["trainer_logp"] - tokens["sampler_logp"]).mean())
    if not gap <= learner.config.canary:
        raise TrainingError(
            f"before any update sampler and trainer differ by {gap:.3g} nats per token",
            where="canary",
            fix="look for randomness in the forward pass or low precision, or raise canary to accept it",
        )


def learning_rate(config: GRPOConfig, step: int) -> float:
    """The rate of a step: falls linearly to `final_learning_rate` of its start at the last step."""
    return config.learning_rate * rate_left(config, step)


def rate_left(config: GRPOConfig, step: int) -> float:
    """Share of the learning rate that is left at a step."""
    last = config.steps * config.inner_epochs - 1
    done = step / last if last else 0.0
    return 1 - (1 - config.final_learning_rate) * done


def _terms(learner: Learner, chunk: Chunk) -> tuple[Scores, LossTerms]:
    config, rollout = learner.config, chunk.rollout
    with learner.team.autocast():
        if learner.critic is None:
            new = score(learner.model, rollout, config.temperature)
        else:
            new = score_with_values(learner.model, learner.critic, rollout, config.temperature)
    return new, learner.objective(new, rollout, chunk.advantage, config)


def _size(batch: Batch, learner: Learner) -> BatchSize:
    rollouts = sum(len(chunk.advantage) for chunk in batch.chunks)
    tokens = sum(int(chunk.rollout.mask.sum()) for chunk in batch.chunks)
    everyone = learner.team.totals(rollouts, tokens)
    return BatchSize(int(everyone[0]), int(everyone[1]), learner.config.new_tokens)


def _of_team(own: Surrogate, batch: Batch, team: Team) -> Surrogate:
    """The surrogate of the whole team: losses and diagnostics are shares already, tokens are joined."""
    if team.size == 1:
        return own
    groups = sum(len(chunk.rollout.prompts.ids) for chunk in batch.chunks)
    size = batch.chunks[0].rollout.group_size if batch.chunks else 0
    diagnostics: dict[str, float] = {}
    everyone = team.gather((own, groups, groups * size))
    for other, _, _ in everyone:
        for name, value in other.diagnostics.items():
            diagnostics[name] = diagnostics.get(name, 0.0) + value
    tokens = side_by_side([(other.tokens, its_groups, its) for other, its_groups, its in everyone])
    return Surrogate(sum(other.loss for other, _, _ in everyone), diagnostics, tokens)


def _backward_kl(learner: Learner) -> float:
    config, reference = learner.config, learner.reference
    chosen = torch.randperm(len(reference.texts), generator=learner.choices)[: config.kl_batch]
    with torch.set_grad_enabled(config.kl_weight > 0), learner.team.autocast():
        kl = reference.kl(learner.model, chosen.to(reference.texts.device))
    if config.kl_weight > 0:
        # Every process computes it on the same texts; their gradients are added.
        (config.kl_weight * kl / learner.team.size).backward()  # type: ignore[no-untyped-call]  # as above
    return kl.item()


def _clip(learner: Learner) -> float:
    """Sums the gradients over the team and clips them; the policy's norm before that."""
    policy, bound = trained(learner.model), learner.config.gradient_clip
    critic = [] if learner.critic is None else list(learner.critic.parameters())
    learner.team.add_gradients([*policy, *critic])
    norm = torch.nn.utils.clip_grad_norm_(policy, bound).item()
    torch.nn.utils.clip_grad_norm_(critic, bound)
    return norm


def _update(learner: Learner, rate: float, step: int) -> None:
    groups, config = learner.optimizer.param_groups, learner.config
    groups[0]["lr"] = rate
    for group in groups[1:]:
        group["lr"] = config.value_learning_rate * rate_left(config, step)
    with memory_for("the optimiser's state", config, "lora_rank"):
        learner.optimizer.step()
