"""A value head on the policy's last residual stream, for methods with a critic (PPO with GAE)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.model import CausalLM, base_of
from training.types import Rollout, Scores


class ValueHead(nn.Module):
    """What return a state promises, as a linear reading of what the unembedding reads; starts at zero.

    The reading is divided by the width, so that a step of Adam moves a value by about its learning rate in a
    model of any size.
    """

    def __init__(self, width: int) -> None:
        """A head that expects 0 everywhere.

        Args:
            width: of the residual stream.
        """
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Float[Tensor, "... D"]) -> Float[Tensor, ...]:
        """The expected return after each state."""
        return cast(Tensor, self.linear(hidden.float() / hidden.shape[-1])).squeeze(-1)


def score_with_values(model: CausalLM, head: ValueHead, rollout: Rollout, temperature: float) -> Scores:
    """Log-probability of each token and the value of the state before it, in one pass over whole texts.

    Args:
        model: the policy; its trunk gets the gradient of both.
        head: the critic.
        rollout: B rollouts of T tokens.
        temperature: the sampler's.
    """
    group, width = rollout.group_size, rollout.tokens.shape[1]
    ids = torch.cat((rollout.prompts.ids.repeat_interleave(group, 0), rollout.tokens), dim=1)
    mask = torch.cat((rollout.prompts.mask.repeat_interleave(group, 0), rollout.mask), dim=1).long()
    places = (mask.cumsum(1) - 1).clamp(min=0)
    with unembedded(model) as seen:
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False, logits_to_keep=width + 1
        ).logits[:, :-1]
    logp_BTV = torch.log_softmax(logits.float() / temperature, dim=-1)
    logp = logp_BTV.gather(2, rollout.tokens[..., None]).squeeze(2)
    values = head(seen[0][:, -width - 1 : -1])
    return Scores(logp.masked_fill(~rollout.mask, 0.0), values.masked_fill(~rollout.mask, 0.0))


def squared_error(
    values: Float[Tensor, "B T"], returns: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """(V - R)^2 / 2 of each real token. Schulman et al. 2017, arXiv 1707.06347, eq. 9."""
    return 0.5 * (values - returns).square() * mask


@contextmanager
def unembedded(model: CausalLM) -> Iterator[list[Tensor]]:
    """What the unembedding reads during the block: the residual stream after the final norm."""
    seen: list[Tensor] = []
    head = cast(Any, base_of(model)).get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()
