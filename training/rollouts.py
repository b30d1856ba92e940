"""Sampling completions: each prompt is read once, its key-value cache is then shared by its group.

An own loop rather than transformers' `generate`, which reads the prompt once per rollout and takes no random
generator, so that a run could not be resumed to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from training.errors import TrainingError
from training.types import Prompt, PromptBatch, Rollout


def encode(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    room: int,
    device: torch.device | str = "cpu",
) -> PromptBatch:
    """Tokenised prompts, padded on the left so that all end at the same place.

    Args:
        tokenizer: the model's.
        prompts: at least one.
        room: tokens that a prompt may have.
        device: where the tensors go.

    Raises:
        TrainingError: a prompt has no tokens, or more than there is room for.
    """
    rows = [prompt_ids(tokenizer, prompt, room) for prompt in prompts]
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return PromptBatch(ids, mask.bool())


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, room: int) -> list[int]:
    """The tokens of one prompt, special ones included.

    Raises:
        TrainingError: it has none, or more than there is room for.
    """
    ids = cast(list[int], tokenizer.encode(prompt.text, add_special_tokens=not prompt.rendered))
    if not ids:
        raise TrainingError("a prompt has no tokens", where=f"prompt {prompt.id!r}", fix="give it some text")
    if len(ids) > room:
        raise TrainingError(
            f"a prompt has {len(ids)} tokens; beside the completion the model's context holds {room}",
            where=f"prompt {prompt.id!r}",
            fix="shorten it, or lower new_tokens",
        )
    return ids


@dataclass(frozen=True)
class Sampler:
    """How completions are drawn."""

    new_tokens: int
    temperature: float
    stop_ids: tuple[int, ...]
    """Tokens that end a completion; they belong to it."""


@torch.no_grad()
def sample(
    model: nn.Module, prompts: PromptBatch, group_size: int, sampler: Sampler, generator: torch.Generator
) -> Rollout:
    """Draws `group_size` completions of each prompt from the model.

    Args:
        model: a causal language model in eval mode, with or without adapter.
        prompts: P prompts.
        group_size: completions per prompt.
        sampler: length, temperature and end tokens.
        generator: the only source of randomness, on the model's device.
    """
    rows = torch.arange(len(prompts.ids), device=prompts.ids.device).repeat_interleave(group_size)
    prefix = read_prompts(model, prompts)
    stop = torch.tensor(sampler.stop_ids, dtype=torch.long, device=prefix.logits.device)
    logits, alive = prefix.logits[rows], torch.ones(len(rows), dtype=torch.bool, device=stop.device)
    tokens, logps, masks = [], [], []
    for place in range(sampler.new_tokens):
        logp_BV = torch.log_softmax(logits.float() / sampler.temperature, dim=-1)
        token_B = torch.multinomial(logp_BV.exp(), 1, generator=generator).squeeze(1)
        tokens.append(token_B.masked_fill(~alive, 0))
        logps.append(logp_BV.gather(1, token_B[:, None]).squeeze(1).masked_fill(~alive, 0.0))
        masks.append(alive)
        alive = alive & ~torch.isin(token_B, stop)
        if place + 1 == sampler.new_tokens or not alive.any():
            break
        if place == 0:  # not before: completions of one token need no cache of their own
            prefix = prefix.select(rows)
        logits = read_completions(model, prefix, torch.stack(tokens[-1:], 1), place)[:, -1]
    return Rollout(prompts, group_size, torch.stack(tokens, 1), torch.stack(masks, 1), torch.stack(logps, 1))


@dataclass
class Prefix:
    """Prompts that were read; gradients flow through logits and cache."""

    logits: Float[Tensor, "B V"]
    """What the model says after the prompt."""
    cache: Any
    """The model's key-value cache; it grows as completions are read."""
    mask: Tensor
    """True where the prompt has a token."""

    def select(self, rows: Tensor) -> Prefix:
        """The rows of these numbers, repeated where a number is; the cache is changed in place."""
        self.cache.batch_select_indices(rows)
        return Prefix(self.logits[rows], self.cache, self.mask[rows])


def read_prompts(model: nn.Module, prompts: PromptBatch) -> Prefix:
    """Reads prompts, each once."""
    out = model(
        input_ids=prompts.ids,
        attention_mask=prompts.mask.long(),
        position_ids=_positions(prompts.mask),
        use_cache=True,
        logits_to_keep=1,
    )
    return Prefix(out.logits[:, -1], out.past_key_values, prompts.mask)


def read_completions(
    model: nn.Module, prefix: Prefix, tokens_BT: Tensor, start: int
) -> Float[Tensor, "B T V"]:
    """Logits after each of the tokens, which follow the prompt and `start` tokens already in the cache."""
    seen = torch.ones(len(tokens_BT), start + tokens_BT.shape[1], device=tokens_BT.device, dtype=torch.bool)
    first = prefix.mask.sum(dim=1, keepdim=True) + start
    out = model(
        input_ids=tokens_BT,
        attention_mask=torch.cat((prefix.mask, seen), dim=1).long(),
        position_ids=first + torch.arange(tokens_BT.shape[1], device=tokens_BT.device),
        past_key_values=prefix.cache,
        use_cache=True,
    )
    return cast(Tensor, out.logits)


def _positions(mask: Tensor) -> Tensor:
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)
