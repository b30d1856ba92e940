"""Sequences sampled from a model, and the exact divergence of two models along them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from audit.measures.batches import Block, CausalLM, Tokens, batches, forward, pad_left, shared_logits
from audit.measures.divergence import token_divergence

Advance = Callable[[int], object]
OpenModel = Callable[[], AbstractContextManager[CausalLM]]


@dataclass(frozen=True)
class Samples:
    """Continuations of prompts, in the order of the prompts."""

    tokens: NDArray[np.int64]
    """[N, T] token ids; 0 where the mask is false."""
    mask: NDArray[np.bool_]
    """[N, T] whether a token was sampled here; the end token counts, what follows it does not."""


@dataclass(frozen=True)
class StepDivergences:
    """Next-token KL at every sampled step, nats; 0 where the mask of the samples is false."""

    forward: NDArray[np.float64]
    """[N, T] KL(base || tuned)."""
    reverse: NDArray[np.float64]
    """[N, T] KL(tuned || base)."""


def sample_sequences(
    model: CausalLM,
    prompts: Sequence[Tokens],
    *,
    new_tokens: int,
    batch_size: int,
    seed: int,
    vocabulary: int | None = None,
    end_ids: Sequence[int] = (),
    advance: Advance = lambda done: None,
) -> Samples:
    """Ancestral samples at temperature 1, nothing cut off but ids beyond the shared vocabulary.

    Sequence i reads its own stream of uniform numbers (seed, i) through the inverse of the cumulative
    distribution, so what it becomes does not depend on its batch, but for rounding in the logits.

    Args:
        model: in evaluation mode.
        prompts: token ids, at least one each; the same prompt may come many times.
        new_tokens: most tokens to sample.
        batch_size: sequences sampled at once.
        seed: of all randomness.
        vocabulary: size of the shared vocabulary.
        end_ids: tokens that end a sequence.
        advance: called with the number of sequences just finished.

    Raises:
        ValueError: a prompt is empty, or a number is below 1.
    """
    if new_tokens < 1:
        raise ValueError(f"{new_tokens} new tokens: at least 1")
    tokens = np.zeros((len(prompts), new_tokens), dtype=np.int64)
    mask = np.zeros((len(prompts), new_tokens), dtype=np.bool_)
    ends = torch.tensor(list(end_ids), dtype=torch.long)
    for rows in batches([len(prompt) for prompt in prompts], batch_size):
        uniform = np.stack([np.random.default_rng([seed, row]).random(new_tokens) for row in rows])
        block = pad_left([prompts[row] for row in rows])
        drawn = _sample_batch(model, block, torch.from_numpy(uniform), vocabulary, ends)
        steps = drawn.mask.shape[1]
        tokens[rows, :steps], mask[rows, :steps] = drawn.tokens, drawn.mask
        advance(len(rows))
    return Samples(np.where(mask, tokens, 0), mask)


def sequence_divergences(
    base: OpenModel,
    tuned: OpenModel,
    prompts: Sequence[Tokens],
    samples: Samples,
    *,
    batch_size: int,
    vocabulary: int | None = None,
    advance: Advance = lambda done: None,
) -> StepDivergences:
    """Exact next-token KL of two models at every sampled step.

    Each batch is run through the base, then through the tuned model, each opened for the time of its run:
    the two may be one model with its adapter off and on. Peak memory is the logits of one batch in both
    models.

    Args:
        base: opens the base.
        tuned: opens the tuned model.
        prompts: token ids.
        samples: what either model sampled after them.
        batch_size: sequences at once.
        vocabulary: size of the shared vocabulary.
        advance: called with the number of sequences just finished.
    """
    found = StepDivergences(np.zeros(samples.mask.shape), np.zeros(samples.mask.shape))
    for rows in _scoring_batches(prompts, samples, batch_size):
        with base() as model:
            base_logits = _step_logits(model, prompts, samples, rows, vocabulary)
        with tuned() as model:
            tuned_logits = _step_logits(model, prompts, samples, rows, vocabulary)
        divergence = token_divergence(base_logits, tuned_logits)
        steps = base_logits.shape[1]
        counts = samples.mask[rows, :steps]
        found.forward[rows, :steps] = divergence.forward.cpu().numpy() * counts
        found.reverse[rows, :steps] = divergence.reverse.cpu().numpy() * counts
        advance(len(rows))
    return found


def _scoring_batches(prompts: Sequence[Tokens], samples: Samples, batch_size: int) -> Iterator[list[int]]:
    if len(prompts) != len(samples.mask):
        raise ValueError(f"{len(prompts)} prompts for {len(samples.mask)} samples")
    steps = samples.mask.sum(axis=1)
    return batches([len(prompt) + int(n) for prompt, n in zip(prompts, steps, strict=True)], batch_size)


def _step_logits(
    model: CausalLM, prompts: Sequence[Tokens], samples: Samples, rows: list[int], vocabulary: int | None
) -> Float[Tensor, "B T V"]:
    """Logits for steps 0 to T - 1: prompts end, and samples begin, at the same column for all rows."""
    steps = max(1, int(samples.mask[rows].sum(axis=1).max()))
    prompt = pad_left([prompts[row] for row in rows])
    ids = torch.from_numpy(samples.tokens[rows, : steps - 1])
    mask = torch.from_numpy(samples.mask[rows, : steps - 1])
    block = Block(torch.cat([prompt.ids, ids], dim=1), torch.cat([prompt.mask, mask], dim=1))
    with torch.inference_mode():
        return shared_logits(forward(model, block, keep=steps), vocabulary)


def _sample_batch(
    model: CausalLM,
    block: Block,
    uniform: Float[Tensor, "B T"],
    vocabulary: int | None,
    end_ids: Int[Tensor, " E"],
) -> Samples:
    """Up to T steps, fewer where all sequences have ended; tokens after an end are still there."""
    cache, alive = None, torch.ones(len(block.ids), 1, dtype=torch.bool)
    tokens, mask = [], []
    for u in uniform.T:
        with torch.inference_mode():
            output = forward(model, block, keep=1, cache=cache, use_cache=True)
        cache = getattr(output, "past_key_values", None)
        chosen = inverse_cdf(shared_logits(output, vocabulary)[:, -1].cpu(), u)[:, None]
        tokens.append(chosen)
        mask.append(alive)
        alive = alive & ~torch.isin(chosen, end_ids)
        if not alive.any():
            break
        grown = torch.ones_like(alive)
        block = Block(torch.cat([block.ids, chosen], dim=1), torch.cat([block.mask, grown], dim=1))
    return Samples(torch.cat(tokens, dim=1).numpy(), torch.cat(mask, dim=1).numpy())


def inverse_cdf(logits: Float[Tensor, "B V"], uniform: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """The token at which the cumulative distribution first exceeds a number from [0, 1)."""
    cumulative = logits.double().softmax(-1).cumsum(-1)
    target = uniform.double()[:, None] * cumulative[:, -1:]
    last = logits.shape[-1] - 1
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1).clamp(max=last)
