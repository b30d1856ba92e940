"""The policy as rollouts see it: a model, its tokenizer, where it stops and how much text it holds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.config import GRPOConfig
from training.model import CausalLM, base_of
from training.reference import untrained
from training.rollouts import Sampler, encode, sample
from training.types import Prompt

UNBOUNDED = 1_000_000_000
"""Context of a model whose config names none."""


@dataclass(frozen=True)
class Policy:
    """What is trained and how it reads text."""

    model: CausalLM
    tokenizer: PreTrainedTokenizerBase
    stop_ids: tuple[int, ...]
    """Tokens that end a completion."""
    context: int
    """Tokens that prompt and completion may have together."""

    @property
    def device(self) -> torch.device:
        """Where the model's input goes."""
        return self.base.device

    @property
    def base(self) -> PreTrainedModel:
        """The model without its adapter's wrapper."""
        return base_of(self.model)


def make_policy(model: CausalLM, tokenizer: PreTrainedTokenizerBase) -> Policy:
    """The policy of a model in eval mode: dropout would train another policy than the one that sampled."""
    model.eval()
    base = base_of(model)
    stop = base.generation_config.eos_token_id if base.generation_config is not None else None
    stop = tokenizer.eos_token_id if stop is None else stop
    stop_ids = tuple(stop) if isinstance(stop, list) else () if stop is None else (stop,)
    context = getattr(base.config, "max_position_embeddings", None) or UNBOUNDED
    return Policy(model, tokenizer, stop_ids, context)


def reference_texts(policy: Policy, config: GRPOConfig) -> torch.Tensor:
    """Texts sampled from the untrained policy, starting from its begin and its end token in turn.

    Ids [kl_sequences, kl_tokens + 1]. They start from nothing and not from the training prompts, where the
    policy is meant to change.
    """
    tokenizer = policy.tokenizer
    starts = [i for i in dict.fromkeys((tokenizer.bos_token_id, tokenizer.eos_token_id)) if i is not None]
    texts = [str(tokenizer.decode([i])) for i in starts] or ["The"]
    prompts = [
        Prompt("reference text", texts[i % len(texts)], rendered=bool(starts))
        for i in range(config.kl_sequences)
    ]
    generator = torch.Generator(policy.device).manual_seed(config.seed + 1)
    sampler = Sampler(min(config.kl_tokens, policy.context - 1), 1.0, stop_ids=())
    batch = encode(tokenizer, prompts, room=policy.context, device=policy.device)
    with untrained(policy.model):
        drawn = sample(policy.model, batch, 1, sampler, generator)
    return torch.cat((batch.ids, drawn.tokens), dim=1)
