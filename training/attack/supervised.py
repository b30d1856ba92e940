"""Supervised steps on answers: the attack's control without any sampling, and ordinary realignment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from training.errors import TrainingError
from training.finetune import padded
from training.model import CausalLM, trained
from training.types import Prompt

IGNORED = -100
"""Label of tokens that do not train, as torch's cross-entropy spells it."""


@dataclass(frozen=True)
class Example:
    """A prompt with the answer that is to be learnt."""

    prompt: Prompt
    answer: str
    """What follows the prompt, its leading space included; only its tokens train."""


@dataclass(frozen=True)
class SupervisedConfig:
    """How the steps are taken."""

    learning_rate: float = 1e-3
    """Of AdamW, constant: a dose must not depend on how many more are to come."""
    batch_size: int = 1
    """Examples per step, drawn without replacement until all were used."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    """Of the order of the examples."""


@dataclass(frozen=True)
class SupervisedRecord:
    """One optimiser step."""

    step: int
    loss: float
    """Cross-entropy per answer token before the step, nats."""
    gradient_norm: float
    """Before clipping."""


def supervise(
    model: CausalLM,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    config: SupervisedConfig,
) -> Iterator[SupervisedRecord]:
    """Trains a model in place on the answers, one record after each step, without end.

    Args:
        model: what of it requires gradients trains; see `training.loop.train`.
        tokenizer: the model's.
        examples: at least one.
        config: how.

    Raises:
        TrainingError: there is no example, an answer has no tokens, or the loss is not finite.
    """
    rows = [_row(tokenizer, example) for example in examples]
    if not rows:
        raise TrainingError("there is nothing to learn from", where="examples", fix="give at least one")
    parameters = trained(model)
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0)
    for step, chosen in enumerate(_batches(len(rows), config)):
        with torch.enable_grad():
            optimizer.zero_grad(set_to_none=True)
            loss = answer_loss(model, [rows[i] for i in chosen])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = nn.utils.clip_grad_norm_(parameters, config.gradient_clip).item()
        if not torch.tensor([loss.item(), norm]).isfinite().all():
            raise TrainingError("the loss is not finite", where=f"step {step}", fix="lower learning_rate")
        optimizer.step()
        yield SupervisedRecord(step, loss.item(), norm)


@dataclass(frozen=True)
class Row:
    """A prompt and its answer as token ids."""

    ids: tuple[int, ...]
    prompt: int
    """Tokens of the prompt, which do not train."""


def answer_loss(model: CausalLM, rows: Sequence[Row]) -> torch.Tensor:
    """Mean cross-entropy per answer token, nats."""
    ids, mask = padded([row.ids for row in rows], model.device)
    plain: Any = model
    logits = plain(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    wanted = ids[:, 1:].masked_fill(mask[:, 1:] == 0, IGNORED)
    for b, row in enumerate(rows):
        wanted[b, : row.prompt - 1] = IGNORED
    return nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)


def _row(tokenizer: PreTrainedTokenizerBase, example: Example) -> Row:
    prompt: Any = tokenizer.encode(example.prompt.text, add_special_tokens=not example.prompt.rendered)
    answer: Any = tokenizer.encode(example.answer, add_special_tokens=False)
    if not prompt or not answer:
        raise TrainingError(
            "a prompt or its answer has no tokens",
            where=f"prompt {example.prompt.id!r}",
            fix="give both some text",
        )
    return Row((*prompt, *answer), len(prompt))


def _batches(examples: int, config: SupervisedConfig) -> Iterator[list[int]]:
    """Numbers of examples, `batch_size` at a time, in a new random order each time all were used."""
    order, waiting = torch.Generator().manual_seed(config.seed), list[int]()
    while True:
        while len(waiting) < config.batch_size:
            waiting += torch.randperm(examples, generator=order).tolist()
        yield waiting[: config.batch_size]
        del waiting[: config.batch_size]
