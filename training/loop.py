"""The loop of every method: draw prompts, sample rollouts, judge them, take steps, record."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.checkpoint import Position, Resumed, State, load, restore, save
from training.collect import Batch, Source, collect
from training.config import GRPOConfig, LoopConfig
from training.critic import ValueHead
from training.errors import TrainingError
from training.model import CausalLM, hidden_size, trained
from training.objectives.grpo import GRPO
from training.policy import Policy, make_policy, reference_texts
from training.records import StepRecord
from training.reference import make_reference
from training.registry import ADVANTAGES
from training.rewards import PromptReward, Reward
from training.rollouts import encode
from training.step import Learner, take_step
from training.team import ALONE, Team
from training.types import Advantage, Objective, Prompt

RANK_STRIDE = 1_000_003
"""Between the sampling seeds of two processes."""


def train(
    model: CausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    reward: Reward | PromptReward,
    config: GRPOConfig,
    *,
    objective: Objective | None = None,
    advantage: Advantage | None = None,
    checkpoint: Path | None = None,
    team: Team = ALONE,
) -> Iterator[StepRecord]:
    """Trains a model in place and yields one record per optimiser step.

    Args:
        model: with an adapter (`lora.attach_lora`) the adapter trains, and without it the model is the
            reference; a bare model trains whole, and its reference is what it is now.
        tokenizer: the model's.
        prompts: what the policy continues.
        reward: judge of a group of completions; its `repr` must name its settings, as must the objective's.
        config: settings of the loop; a `GRPOConfig` leaves those of `LoopConfig` at their defaults.
        objective: the method; GRPO where none is given.
        advantage: what it is fed with; where none is given, the one that its paper uses.
        checkpoint: folder into which the run is saved and from which it goes on. A resumed run first yields
            the records of the steps done before, so that its records and weights equal those of an
            undisturbed run, to the bit on a CPU.
        team: the processes that train together; each one calls this and yields the same records.

    Raises:
        TrainingError: no prompts, a prompt too long for the context, a checkpoint of another run, a loss that
            is no longer finite, too little memory, or a run in which no group ever had reward variance.
    """
    method = objective or GRPO()
    fed_with = advantage or ADVANTAGES.make(method.card.advantage)
    task = _Task(
        make_policy(model, tokenizer), prompts, reward, LoopConfig.of(config), method, fed_with, team
    )
    task.check()
    resumed = load(checkpoint, task.identity) if checkpoint is not None else None
    if resumed is None:
        resumed = Resumed(Position(), reference_texts(task.policy, task.config), ())
    yield from resumed.records
    yield from _go_on(task, resumed, checkpoint)


def _go_on(task: _Task, start: Resumed, checkpoint: Path | None) -> Iterator[StepRecord]:
    config, position, unsaved = task.config, start.position, list[StepRecord]()
    state = task.fresh_state()
    texts = start.texts.to(task.policy.device)
    learner = task.learner(state, texts)  # before the weights come back: it may read the reference
    restore(state, start)
    source = task.source(state)
    while position.batch < config.steps:
        clock = time.perf_counter()
        position = _fill(state, source, position)
        batch = state.waiting.popleft()
        position = _after(position, batch, config)
        records = _epochs(learner, batch, position.steps, clock)
        position = replace(position, steps=position.steps + len(records))
        unsaved += records
        if checkpoint is not None and (
            position.batch % config.save_every == 0 or position.batch == config.steps
        ):
            save(checkpoint, state, Resumed(position, texts, tuple(unsaved)), task.identity)
            unsaved.clear()
        # After saving: whoever stops here has lost nothing.
        yield from records


def _fill(state: State, source: Source, position: Position) -> Position:
    """Samples until the batch that trains next is `staleness` batches old, as far as batches are wanted."""
    config, sampled = source.config, position.sampled
    while sampled < min(position.batch + config.staleness + 1, config.steps):
        state.waiting.append(collect(source))
        sampled += 1
    return replace(position, sampled=sampled)


def _epochs(learner: Learner, batch: Batch, step: int, clock: float) -> list[StepRecord]:
    records = []
    for epoch in range(learner.config.inner_epochs):
        record = take_step(learner, batch, step + epoch)
        now = time.perf_counter()
        records.append(replace(record, seconds=now - clock))
        clock = now
    return records


def _after(position: Position, batch: Batch, config: GRPOConfig) -> Position:
    """Where the run stands with one more batch.

    Raises:
        TrainingError: no group has had reward variance, and enough batches (or all) have been tried.
    """
    done, saw_variance = position.batch + 1, position.saw_variance or batch.live_groups > 0
    if not saw_variance and done >= min(config.give_up_after, config.steps):
        mean = next(c.reward for c in batch.channels if c.channel == "total")
        raise TrainingError(
            f"in {done} batches no group had reward variance (mean reward {mean:.3g}), nothing to learn from",
            where="reward",
            fix="use prompts of which the model gets some right, a larger group_size or a higher temperature",
        )
    return replace(position, batch=done, saw_variance=saw_variance)


@dataclass(frozen=True)
class _Task:
    policy: Policy
    prompts: Sequence[Prompt]
    reward: Reward | PromptReward
    config: LoopConfig
    objective: Objective
    advantage: Advantage
    team: Team

    def check(self) -> None:
        if not self.prompts:
            raise TrainingError("there are no prompts to train on", where="prompts", fix="give at least one")
        encode(self.policy.tokenizer, self.prompts, room=self.policy.context - self.config.new_tokens)
        if self.config.prompts_per_step % self.team.size:
            raise TrainingError(
                f"{self.team.size} processes cannot share {self.config.prompts_per_step} prompts evenly",
                where="prompts_per_step",
                fix=f"choose a multiple of {self.team.size}",
            )

    def fresh_state(self) -> State:
        model, seed, config = self.policy.model, self.config.seed, self.config
        critic = None
        if "values" in getattr(self.advantage, "needs", ()):
            critic = ValueHead(hidden_size(model)).to(self.policy.device)
        groups = [{"params": trained(model), "lr": config.learning_rate}]
        if critic is not None:
            groups.append({"params": list(critic.parameters()), "lr": config.value_learning_rate})
        return State(
            model=model,
            optimizer=torch.optim.AdamW(groups, weight_decay=0.0),
            choices=torch.Generator().manual_seed(seed),
            sampling=torch.Generator(self.policy.device).manual_seed(seed + RANK_STRIDE * self.team.rank),
            critic=critic,
            team=self.team,
        )

    def learner(self, state: State, texts: Tensor) -> Learner:
        reference = make_reference(state.model, texts, self.config.kl_batch)
        return Learner(
            state.model,
            self.objective,
            state.optimizer,
            reference,
            state.choices,
            self.config,
            state.critic,
            self.team,
        )

    def source(self, state: State) -> Source:
        return Source(
            self.policy,
            self.prompts,
            self.reward,
            self.advantage,
            self.config,
            state.choices,
            state.sampling,
            state.critic,
            self.team,
        )

    @cached_property
    def identity(self) -> dict[str, str]:
        """What must be the same for a checkpoint to be this run's; read before the first step."""
        embedding = cast(Tensor, self.policy.base.get_input_embeddings().weight)
        shapes = {name: tuple(value.shape) for name, value in self.policy.model.named_parameters()}
        rows = embedding[:64].detach().float().cpu().numpy().tobytes()
        return {
            "settings": _digest(json.dumps(asdict(self.config), sort_keys=True)),
            "method": _digest(f"{self.objective.card.name} {self.objective!r} {self.advantage!r}"),
            "reward": _digest(repr(self.reward)),
            "prompts": _digest(json.dumps([asdict(prompt) for prompt in self.prompts])),
            "model": _digest(str(sorted(shapes.items()))) + hashlib.sha256(rows).hexdigest(),
            "processes": str(self.team.size),
        }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
