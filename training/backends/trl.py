"""The same objectives inside TRL's GRPOTrainer, for what TRL brings: FSDP, DeepSpeed, vLLM, any optimiser.

Only the loss is ours, and the tokens of the prompts, so that both backends read the same. What TRL does
otherwise: it draws prompts in its own order, replaces no dead group, and trains on every token of a
completion, also those behind the reward's decision. Importing this module imports TRL, which takes seconds.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl.trainer.grpo_config import GRPOConfig as TRLConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from training.aggregate import BatchSize, aggregate
from training.backends.trl_records import Recorder, Task, rollouts_of
from training.collect import judge_of
from training.config import GRPOConfig, LoopConfig
from training.errors import TrainingError
from training.memory import memory_for
from training.model import CausalLM, base_of, trained
from training.objectives.grpo import GRPO
from training.policy import make_policy, reference_texts
from training.records import StepRecord, token_columns
from training.reference import make_reference
from training.rewards import PromptReward, Reward
from training.rollouts import encode, prompt_ids
from training.step import rate_left
from training.types import Advantage, Objective, Prompt, PromptBatch, Rollout, Scores

SCALES = {"group": "group", "group_mean": "none"}
"""Our advantages, as TRL's `scale_rewards` calls them."""


class ObjectiveTrainer(GRPOTrainer):
    """TRL's trainer with our loss."""

    def __init__(self, task: Task, **given: Any) -> None:
        """A trainer of a task; the rest is as TRL wants it."""
        self.task = task
        super().__init__(**given)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        task, rollout = self.task, rollout_of(inputs)
        ids = torch.cat((inputs["prompt_ids"], inputs["completion_ids"]), dim=1)
        mask = torch.cat((inputs["prompt_mask"], inputs["completion_mask"]), dim=1)
        logp, _, _ = self._get_per_token_logps_and_entropies(model, ids, mask, rollout.tokens.shape[1])
        if rollout.sampler_logp is UNKNOWN:  # one update per batch: the sampler is this policy
            rollout = with_sampler(rollout, logp.detach())
        new = Scores(logp.masked_fill(~rollout.mask, 0.0))
        terms = task.objective(new, rollout, inputs["advantages"], task.config)
        how = (
            task.objective.card.aggregation if task.config.aggregation == "card" else task.config.aggregation
        )
        loss = aggregate(terms.per_token, rollout.mask, how, self._size(inputs, len(rollout.tokens)))
        step, notes = self.state.global_step, task.notes
        first = rollouts_of(notes.tokens)
        columns = token_columns(step, rollout, terms, logp.detach(), inputs["advantages"], first)
        numbers = [notes.groups.setdefault(tuple(row), len(notes.groups)) for row in _prompts(rollout)]
        columns["group"] = np.array(numbers)[columns["rollout"] - first]
        notes.tokens.append(columns)
        notes.diagnostics.append(dict(terms.diagnostics))
        return loss + self._penalty(model)

    def _size(self, inputs: dict[str, Any], rollouts: int) -> BatchSize:
        """Size of one accumulation window of this process; TRL takes the mean over processes itself."""
        windows = self.current_gradient_accumulation_steps
        tokens = float(inputs["num_items_in_batch"]) / self.accelerator.num_processes
        tokens = tokens * windows / int(cast(Any, self.args).steps_per_generation)
        return BatchSize(rollouts * windows, max(1, round(tokens)), self.task.config.new_tokens)

    def _penalty(self, model: Any) -> Tensor:
        """The exact KL to the reference, once per optimiser step."""
        task, device = self.task, self.accelerator.device
        if not self.accelerator.sync_gradients:
            return torch.zeros((), device=device)
        count, weight = len(task.reference.texts), task.config.kl_weight
        chosen = torch.randperm(count, generator=task.choices)[: task.config.kl_batch]
        with torch.set_grad_enabled(weight > 0):
            kl = task.reference.kl(self.accelerator.unwrap_model(model), chosen.to(device))
        task.notes.kl = kl.item()
        # The trainer divides nothing by the accumulation steps here: the penalty is added once.
        return weight * kl

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        tokenizer, room = cast(PreTrainedTokenizerBase, self.processing_class), 10**9
        rows = [prompt_ids(tokenizer, self.task.prompts[text], room) for text in prompts]
        return rows, None, {}


UNKNOWN = torch.zeros(0)
"""Stands for the sampler's log-probabilities where TRL did not compute them."""


def rollout_of(inputs: dict[str, Any]) -> Rollout:
    """TRL's batch as ours; a prompt stands once for each of its completions."""
    prompts = PromptBatch(inputs["prompt_ids"], inputs["prompt_mask"].bool())
    sampler = inputs.get("sampling_per_token_logps", inputs.get("old_per_token_logps"))
    tokens, mask = inputs["completion_ids"], inputs["completion_mask"].bool()
    return Rollout(prompts, 1, tokens, mask, UNKNOWN if sampler is None else sampler.masked_fill(~mask, 0.0))


def with_sampler(rollout: Rollout, logp: Tensor) -> Rollout:
    """The rollout with the sampler's log-probabilities."""
    kept = logp.masked_fill(~rollout.mask, 0.0)
    return Rollout(rollout.prompts, rollout.group_size, rollout.tokens, rollout.mask, kept)


def _prompts(rollout: Rollout) -> list[list[int]]:
    rows = zip(rollout.prompts.ids, rollout.prompts.mask, strict=True)
    return [ids[mask].tolist() for ids, mask in rows]


def train_with_trl(
    model: CausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    reward: Reward | PromptReward,
    config: GRPOConfig,
    *,
    objective: Objective | None = None,
    advantage: Advantage | None = None,
    checkpoint: Path | None = None,
) -> Iterator[StepRecord]:
    """Trains a model in place with TRL and then yields one record per optimiser step.

    Arguments are those of `training.loop.train`. A killed run begins again: `checkpoint` is not read. vLLM
    samples where it is installed beside a GPU.

    Raises:
        TrainingError: what TRL's trainer cannot do: a stale sampler, a value head, another advantage than a
            group's; no prompts, a prompt too long, or too little memory.
    """
    method, settings = objective or GRPO(), LoopConfig.of(config)
    fed_with = method.card.advantage if advantage is None else advantage.name
    _check(settings, fed_with, model)
    policy = make_policy(model, tokenizer)
    if not prompts:
        raise TrainingError("there are no prompts to train on", where="prompts", fix="give at least one")
    encode(tokenizer, prompts, room=policy.context - settings.new_tokens)
    texts = reference_texts(policy, settings)
    by_text = {prompt.text: prompt for prompt in prompts}
    choices = torch.Generator().manual_seed(settings.seed)
    reference = make_reference(model, texts, settings.kl_batch)
    task = Task(method, settings, by_text, reward, reference, choices)
    lower = ("groups_per_pass", "group_size", "new_tokens")
    with tempfile.TemporaryDirectory() as folder, _quiet(), memory_for("TRL", settings, *lower):
        trainer = _trainer(task, model, tokenizer, SCALES[fed_with], folder)
        trainer.train()
    model.eval()
    yield from task.records


def _trainer(
    task: Task, model: CausalLM, tokenizer: PreTrainedTokenizerBase, scale: str, folder: str
) -> ObjectiveTrainer:
    config = task.config
    optimizer = torch.optim.AdamW(trained(model), lr=config.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_left(config, step))
    trainer = ObjectiveTrainer(
        task,
        model=model,
        reward_funcs=_reward_function(task),
        args=trl_settings(config, scale, folder, cpu=base_of(model).device.type == "cpu"),
        train_dataset=Dataset.from_list([{"prompt": text} for text in task.prompts]),
        processing_class=tokenizer,
        callbacks=[Recorder(task)],
        optimizers=(optimizer, schedule),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def trl_settings(config: LoopConfig, scale: str, folder: str, *, cpu: bool) -> Any:
    """TRL's settings for ours: the same batch, optimiser steps, schedule and sampler.

    Args:
        config: ours.
        scale: TRL's `scale_rewards`.
        folder: where TRL may write.
        cpu: whether the model lies on a CPU.
    """
    own = config.prompts_per_step // int(os.environ.get("WORLD_SIZE", "1"))
    at_once = max(n for n in range(1, own + 1) if own % n == 0 and n <= config.groups_per_pass)
    return TRLConfig(
        output_dir=folder,
        per_device_train_batch_size=at_once * config.group_size,
        gradient_accumulation_steps=own // at_once,
        num_generations=config.group_size,
        num_iterations=config.inner_epochs,
        max_steps=config.steps * config.inner_epochs,
        max_completion_length=config.new_tokens,
        temperature=config.temperature,
        max_grad_norm=config.gradient_clip,
        scale_rewards=scale,
        beta=0.0,
        disable_dropout=True,
        gradient_checkpointing=False,
        bf16=config.precision == "bf16",
        use_cpu=cpu,
        use_vllm=not cpu and find_spec("vllm") is not None,
        seed=config.seed,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _reward_function(task: Task) -> Any:
    def judged(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        size, values = task.config.group_size, list[float]()
        for start in range(0, len(completions), size):
            found = judge_of(task.reward, task.prompts[prompts[start]])(completions[start : start + size])
            task.notes.rewards.append(found)
            values += found.total
        return values

    return judged


def _check(config: LoopConfig, advantage: str, model: CausalLM) -> None:
    if config.staleness:
        raise TrainingError(
            "TRL's trainer has no stale sampler",
            where="staleness",
            fix="use inner_epochs, or the backend 'loop'",
        )
    if advantage not in SCALES:
        raise TrainingError(
            f"TRL's trainer cannot feed a method with the advantage {advantage!r}",
            where="advantage",
            fix=f"choose one of {', '.join(SCALES)}, or the backend 'loop'",
        )
    if isinstance(model, PeftModel) and "lm_head" in config.lora_targets:
        raise TrainingError(
            "TRL reads the unembedding past its adapter", where="lora_targets", fix="leave lm_head out"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that TRL and transformers print about their own defaults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
