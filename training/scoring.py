"""Log-probabilities of rollouts under the policy, and its exact divergence from the reference."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from peft import PeftModel
from torch import Tensor, nn

from training.rollouts import Prefix, read_completions, read_prompts
from training.types import Rollout, Scores


def score(model: nn.Module, rollout: Rollout, temperature: float) -> Scores:
    """Log-probability of each token of `mask` under the model, without reading anything twice.

    A prompt is read once for its group, and equal completions of one prompt are read once: after cutting to
    what the reward read, many of them are the same word.
    """
    prefix = read_prompts(model, rollout.prompts)
    group = torch.arange(len(rollout.tokens), device=rollout.tokens.device) // rollout.group_size
    first = _log_softmax(prefix.logits, temperature)[group, rollout.tokens[:, 0]]
    columns = [first[:, None]]
    if rollout.tokens.shape[1] > 1:
        columns.append(_later_tokens(model, prefix, rollout, group, temperature))
    return Scores(torch.cat(columns, dim=1).masked_fill(~rollout.mask, 0.0))


def _later_tokens(
    model: nn.Module, prefix: Prefix, rollout: Rollout, group: Tensor, temperature: float
) -> Float[Tensor, "B T-1"]:
    keys = torch.cat((group[:, None], rollout.tokens.masked_fill(~rollout.mask, -1)), dim=1)
    unique, member = torch.unique(keys, dim=0, return_inverse=True)
    longer = unique[:, 2] >= 0
    logp = prefix.logits.new_zeros(unique[:, 2:].shape, dtype=torch.float32)
    if longer.any():
        tokens = unique[longer, 1:].clamp(min=0)
        logits = read_completions(model, prefix.select(unique[longer, 0]), tokens[:, :-1], 0)
        picked = _log_softmax(logits, temperature).gather(2, tokens[:, 1:, None]).squeeze(2)
        logp = logp.index_copy(0, longer.nonzero().squeeze(1), picked)
    return logp[member]


def score_plain(model: nn.Module, rollout: Rollout, temperature: float) -> Scores:
    """The plain twin of `score`: reads prompt and completion of every rollout whole, without a cache."""
    group, width = rollout.group_size, rollout.prompts.ids.shape[1]
    ids = torch.cat((rollout.prompts.ids.repeat_interleave(group, 0), rollout.tokens), dim=1)
    mask = torch.cat((rollout.prompts.mask.repeat_interleave(group, 0), rollout.mask), dim=1).long()
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0), use_cache=False
    ).logits
    logp_BTV = _log_softmax(logits[:, width - 1 : -1], temperature)
    logp = logp_BTV.gather(2, rollout.tokens[..., None]).squeeze(2)
    return Scores(logp.masked_fill(~rollout.mask, 0.0))


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    return torch.log_softmax(logits.float() / temperature, dim=-1)


def exact_kl(model: PeftModel, texts: Int[Tensor, "S L"]) -> Tensor:
    """KL(reference || policy) per token, nats, summed over the whole vocabulary at each place of the texts.

    The reference is the model with its adapter off. On texts that it samples afresh this is an unbiased
    estimate of the sequence divergence per token; on texts penalised in training it reads low. The gradient
    reaches the policy alone.
    """
    with torch.no_grad(), model.disable_adapter():
        reference = log_probabilities(model, texts)
    return kl_to(reference, model, texts)


def kl_to(reference: Float[Tensor, "S L-1 V"], model: nn.Module, texts: Int[Tensor, "S L"]) -> Tensor:
    """KL(reference || policy) per token of the texts, nats, for a reference given by log-probabilities."""
    policy = log_probabilities(model, texts)
    return (reference.exp() * (reference - policy)).sum(dim=-1).mean()


def log_probabilities(model: nn.Module, texts: Int[Tensor, "S L"]) -> Float[Tensor, "S L-1 V"]:
    """Log-probabilities of every possible next token after each token of the texts but the last."""
    return torch.log_softmax(model(input_ids=texts, use_cache=False).logits[:, :-1].float(), dim=-1)
