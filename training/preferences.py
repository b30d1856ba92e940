"""Learning from pairs of completions, of which one is preferred: what DPO, reward models and SFT share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from training.config import PreferenceConfig
from training.errors import TrainingError
from training.memory import memory_for
from training.model import CausalLM, base_of
from training.records import ChannelReward, StepRecord
from training.rollouts import prompt_ids
from training.types import Prompt


@dataclass(frozen=True)
class PreferencePair:
    """Two completions of one prompt."""

    prompt: Prompt
    chosen: str
    """The preferred one."""
    rejected: str


@dataclass(frozen=True)
class Completed:
    """One text as token ids."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]


@dataclass(frozen=True)
class TokenPair:
    """A pair as token ids."""

    chosen: Completed
    rejected: Completed


@dataclass(frozen=True)
class Judged:
    """What a loss says of a batch."""

    loss: Tensor
    channels: Mapping[str, Tensor]
    """Numbers worth recording, one per pair."""


def tokenised(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair], *, room: int, end: bool = True
) -> list[TokenPair]:
    """The pairs as token ids.

    Args:
        tokenizer: the model's.
        pairs: at least one.
        room: tokens that prompt and completion may have together.
        end: whether a completion ends with the end token.

    Raises:
        TrainingError: there are no pairs, a text is empty or too long, or both completions are one.
    """
    if not pairs:
        raise TrainingError("there are no preference pairs", where="pairs", fix="give at least one")
    stop = [tokenizer.eos_token_id] if end and tokenizer.eos_token_id is not None else []
    found = []
    for pair in pairs:
        prompt = tuple(prompt_ids(tokenizer, pair.prompt, room))
        rows = [
            (*tokenizer.encode(text, add_special_tokens=False), *stop)
            for text in (pair.chosen, pair.rejected)
        ]
        _check(pair, prompt, rows, room)
        found.append(TokenPair(*(Completed(prompt, row) for row in rows)))
    return found


def _check(pair: PreferencePair, prompt: tuple[int, ...], rows: Sequence[tuple[int, ...]], room: int) -> None:
    where = f"prompt {pair.prompt.id!r}"
    if not pair.chosen or not pair.rejected:
        raise TrainingError("a completion of a pair is empty", where=where, fix="give it some text")
    if rows[0] == rows[1]:
        raise TrainingError("both completions of a pair are the same", where=where, fix="leave the pair out")
    if len(prompt) + max(map(len, rows)) > room:
        raise TrainingError(
            f"a pair has more tokens than the model's context of {room}", where=where, fix="shorten it"
        )


def completion_logp(model: CausalLM, texts: Sequence[Completed]) -> Float[Tensor, " B"]:
    """Summed log-probability of each completion after its prompt, nats."""
    device = base_of(model).device
    rows = [(*text.prompt, *text.completion) for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    places = torch.arange(width, device=device)
    lengths = torch.tensor([[len(t.prompt), len(r)] for t, r in zip(texts, rows, strict=True)], device=device)
    mask = places < lengths[:, 1:]
    logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits[:, :-1].float()
    logp = torch.log_softmax(logits, dim=-1).gather(2, ids[:, 1:, None]).squeeze(2)
    return (logp * (mask & (places >= lengths[:, :1]))[:, 1:]).sum(dim=1)


def descend(
    parameters: Sequence[nn.Parameter],
    loss_of: Callable[[Sequence[int]], Judged],
    count: int,
    config: PreferenceConfig,
) -> Iterator[StepRecord]:
    """Takes the steps of a loss over pairs and yields a record of each.

    Args:
        parameters: what trains.
        loss_of: the loss of the pairs of these numbers; its first channel is recorded as 'total'.
        count: how many pairs there are; each is seen once before any is seen again.
        config: sizes.

    Raises:
        TrainingError: the loss is no longer finite, or memory runs out.
    """
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0)
    order = _order(count, config)
    for step in range(config.steps):
        clock = time.perf_counter()
        rate = config.learning_rate * (1 - (1 - config.final_learning_rate) * step / max(config.steps - 1, 1))
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        with memory_for("a step", config, "batch_size"):
            judged = loss_of([next(order) for _ in range(config.batch_size)])
            judged.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = nn.utils.clip_grad_norm_(parameters, config.gradient_clip).item()
        if not torch.tensor([judged.loss.item(), norm]).isfinite().all():
            raise TrainingError(
                "the loss is no longer finite", where=f"step {step}", fix="lower learning_rate"
            )
        optimizer.step()
        record = _record(step, judged, config.batch_size, norm, rate)
        yield replace(record, seconds=time.perf_counter() - clock)


def _order(count: int, config: PreferenceConfig) -> Iterator[int]:
    generator = torch.Generator().manual_seed(config.seed)
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def _record(step: int, judged: Judged, count: int, norm: float, rate: float) -> StepRecord:
    first = next(iter(judged.channels))
    channels = [("total", judged.channels[first]), *judged.channels.items()]
    return StepRecord(
        step=step,
        channels=tuple(
            ChannelReward(name, values.mean().item(), values.std(correction=0).item())
            for name, values in channels
        ),
        dead_groups=0.0,
        sampled_groups=count,
        live_groups=count,
        exact_kl=None,
        loss=judged.loss.item(),
        gradient_norm=norm,
        learning_rate=rate,
        diagnostics={},
        tokens={},
    )
