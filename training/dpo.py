"""Direct preference optimisation, and plain supervised training on the preferred completions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.config import PreferenceConfig
from training.model import CausalLM, trained
from training.policy import make_policy
from training.preferences import Judged, PreferencePair, TokenPair, completion_logp, descend, tokenised
from training.records import StepRecord


def dpo_loss(
    chosen: Float[Tensor, " B"],
    rejected: Float[Tensor, " B"],
    reference_chosen: Float[Tensor, " B"],
    reference_rejected: Float[Tensor, " B"],
    beta: float,
) -> Float[Tensor, " B"]:
    """-log sigmoid(beta ((log pi - log ref)(chosen) - (log pi - log ref)(rejected))) of each pair.

    Rafailov et al. 2023, arXiv 2305.18290, eq. 7. Arguments are summed log-probabilities of completions.
    """
    return -torch.nn.functional.logsigmoid(
        beta * ((chosen - reference_chosen) - (rejected - reference_rejected))
    )


def train_dpo(
    model: CausalLM,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[PreferencePair],
    config: PreferenceConfig,
) -> Iterator[StepRecord]:
    """Trains a model in place with DPO; the reference is the model as it is now.

    Channels of the records: `margin`, by how many nats the chosen completion gained on the rejected one since
    the start, and `accuracy`, the share of pairs in which it gained at all.

    Raises:
        TrainingError: a pair is malformed, the loss is no longer finite, or memory runs out.
    """
    policy = make_policy(model, tokenizer)
    found = tokenised(tokenizer, pairs, room=policy.context)
    reference = reference_logp(model, found, config.batch_size)

    def loss_of(numbers: Sequence[int]) -> Judged:
        now = pair_logp(model, [found[i] for i in numbers])
        then = reference[list(numbers)]
        gain = now - then
        loss = dpo_loss(now[:, 0], now[:, 1], then[:, 0], then[:, 1], config.beta).mean()
        margin = (gain[:, 0] - gain[:, 1]).detach()
        return Judged(loss, {"margin": margin, "accuracy": (margin > 0).float()})

    yield from descend(trained(model), loss_of, len(found), config)


def train_sft(
    model: CausalLM,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[PreferencePair],
    config: PreferenceConfig,
) -> Iterator[StepRecord]:
    """Trains a model in place on the chosen completions; the rejected ones are not read.

    Channel of the records: `logp`, nats per token of the chosen completion.

    Raises:
        TrainingError: as in `train_dpo`.
    """
    found = tokenised(tokenizer, pairs, room=make_policy(model, tokenizer).context)

    def loss_of(numbers: Sequence[int]) -> Judged:
        texts = [found[i].chosen for i in numbers]
        logp = completion_logp(model, texts)
        tokens = torch.tensor([len(text.completion) for text in texts], device=logp.device)
        return Judged(-logp.sum() / tokens.sum(), {"logp": (logp / tokens).detach()})

    yield from descend(trained(model), loss_of, len(found), config)


def pair_logp(model: CausalLM, pairs: Sequence[TokenPair]) -> Float[Tensor, "B 2"]:
    """Summed log-probabilities of the chosen and the rejected completion of each pair."""
    texts = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    return completion_logp(model, texts).reshape(2, len(pairs)).T


@torch.no_grad()
def reference_logp(model: CausalLM, pairs: Sequence[TokenPair], size: int) -> Float[Tensor, "N 2"]:
    """`pair_logp` of an untrained model for all pairs, `size` of them at once: two numbers a pair."""
    parts = [pair_logp(model, pairs[i : i + size]) for i in range(0, len(pairs), size)]
    return torch.cat(parts)
