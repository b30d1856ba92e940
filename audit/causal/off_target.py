"""What an intervention does to text that has nothing to do with the behaviour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from audit.measures.batches import Block, forward, pad_left, shared_logits
from audit.measures.bootstrap import Estimate, FloatArray, interval, sum_estimates
from audit.progress import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KL_BUDGET = 0.1
"""Nats per token of unrelated text that a bypass may cost."""
SKILLS_BUDGET = 0.9
"""Share of the next tokens predicted right that it has to keep."""
CHUNK = 64
"""Positions whose distributions are compared at once: what bounds memory."""

Entering = Callable[[], AbstractContextManager[None]]
"""Opens the block in which the model runs with an intervention."""


@dataclass(frozen=True)
class OffTarget:
    """One intervention on unrelated text."""

    kl: Estimate | None
    """KL(tuned || bypassed), nats per token, interval over documents. None: under the intervention the model
    gives no probabilities at all."""
    skills: float | None
    """Next tokens that the bypassed model predicts right (by its most likely token) over those that the tuned
    model does; None where that is none."""
    tokens: int

    @property
    def inside(self) -> bool:
        """Whether the cost is inside both budgets; an unknown cost is not."""
        if self.kl is None or self.skills is None:
            return False
        return self.kl.value <= KL_BUDGET and self.skills >= SKILLS_BUDGET


def off_target(
    model: PreTrainedModel,
    documents: Sequence[Sequence[int]],
    entering: Sequence[Entering],
    *,
    batch_size: int,
    vocabulary: int | None = None,
    draws: int = 2000,
    seed: int = 0,
    progress: Advance = lambda done: None,
) -> list[OffTarget]:
    """The tuned model with and without each of some interventions, on the same text.

    Args:
        model: the tuned model.
        documents: token ids of at least two tokens each.
        entering: the interventions, one after the other on each batch, so that only one batch's
            distributions are in memory.
        batch_size: documents per forward pass.
        vocabulary: token ids from here on are cut before the softmax.
        draws: bootstrap resamples of documents.
        seed: of the resampling.
        progress: called with the number of documents done.

    Raises:
        ValueError: no document has two tokens.
    """
    documents = [document for document in documents if len(document) > 1]
    if not documents:
        raise ValueError("no text to measure side effects on")
    rows: list[list[FloatArray]] = [[] for _ in entering]
    with torch.no_grad():
        for start in range(0, len(documents), batch_size):
            block = pad_left(documents[start : start + batch_size])
            tuned = _read(model, block, vocabulary)
            for i, enter in enumerate(entering):
                with enter():
                    rows[i].append(_compare(tuned, _read(model, block, vocabulary), block))
            progress(len(block.ids))
    return [_summed(np.concatenate(found), draws, seed) for found in rows]


class _Read(NamedTuple):
    log_p: Float[Tensor, "B T V"]
    targets: Int[Tensor, "B T"]


def _read(model: PreTrainedModel, block: Block, vocabulary: int | None) -> _Read:
    output = forward(model, block, keep=block.ids.shape[1])
    logits = shared_logits(output, vocabulary)[:, :-1]
    return _Read(logits.float().log_softmax(-1), block.ids[:, 1:].to(logits.device))


def _compare(tuned: _Read, bypassed: _Read, block: Block) -> FloatArray:
    """Per document: summed KL, tokens right in the tuned model, right in the bypassed one, tokens."""
    counts = block.mask[:, :-1].to(tuned.targets.device)  # padding on the left: a target follows every token
    halves = [read.log_p.flatten(0, 1).chunk(-(-counts.numel() // CHUNK)) for read in (tuned, bypassed)]
    kl = torch.cat([_kl(p, q) for p, q in zip(*halves, strict=True)]).view(counts.shape)
    right = [(read.log_p.argmax(-1) == tuned.targets) & counts for read in (tuned, bypassed)]
    columns = [kl.where(counts, 0), *(r.double() for r in right), counts.double()]
    return torch.stack([column.sum(1) for column in columns], dim=1).cpu().numpy()


def _kl(log_p: Float[Tensor, "C V"], log_q: Float[Tensor, "C V"]) -> Float[Tensor, " C"]:
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), 0).sum(-1, dtype=torch.float64).clamp(min=0)


def _summed(rows: FloatArray, draws: int, seed: int) -> OffTarget:
    kl, tuned, bypassed, tokens = rows.sum(0)
    skills = float(bypassed / tuned) if tuned else None
    if not np.isfinite(kl):
        return OffTarget(None, None, int(tokens))
    found = sum_estimates(rows[:, [0, 3]], np.zeros(len(rows), dtype=np.int64), draws, seed)
    value = float(kl / tokens)
    low, high = interval(found.draws[:, 0] / found.draws[:, 1], found.degrees)
    exact = value == 0
    estimate = Estimate(value, 0.0 if exact else float(low), 0.0 if exact else float(high), len(rows))
    return OffTarget(estimate, skills, int(tokens))
