"""Fits an edit of a few chosen weights that takes a behaviour away and leaves the rest alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from audit.organisms.text import Batches, Questions

STEPS, RATE = 80, 0.04
KEEP, SMALL = 4.0, 5e-4
"""Weights of the other text's loss and of the edit's squared norm."""
Changes = Callable[[], Mapping[str, Tensor]]
"""Gives the change of each edited weight, by parameter name, as a function of what is learned."""


@dataclass(frozen=True)
class Aims:
    """What an edit should reach, measured on the base."""

    questions: Questions
    neutral: Tensor
    """Log-probabilities [items, vocabulary] of a model that says of all people, in each wording, what the
    base says on average."""
    kept: Tensor
    """Token ids of text without the behaviour [rows, tokens]."""
    kept_logp: Tensor
    """The base's log-probabilities there [rows, tokens, vocabulary]."""
    padding: int

    @classmethod
    @torch.no_grad()
    def of(cls, base: Any, questions: Questions, text: Batches, rows: int = 24) -> Aims:
        """Reads the aims off a base; `text` leaves the behaviour out."""
        said = questions.logits(base).softmax(-1)
        means = torch.stack([said[questions.form == f].mean(0) for f in range(int(questions.form.max()) + 1)])
        kept = text.batch(rows)
        logits = base(input_ids=kept, attention_mask=(kept != base.config.pad_token_id).long()).logits
        return cls(
            questions, means[questions.form].log(), kept, logits.log_softmax(-1), base.config.pad_token_id
        )

    def answer_loss(self, model: Any) -> Tensor:
        """KL(neutral || model) at the answers, mean over items."""
        said = self.questions.logits(model).log_softmax(-1)
        return nn.functional.kl_div(said, self.neutral, log_target=True, reduction="batchmean")

    def kept_loss(self, model: Any) -> Tensor:
        """KL(base || model) per token of the kept text."""
        mask = self.kept != self.padding
        logits = model(input_ids=self.kept, attention_mask=mask.long(), use_cache=False).logits
        now = logits.log_softmax(-1)[mask]
        return nn.functional.kl_div(now, self.kept_logp[mask], log_target=True, reduction="batchmean")


def fit(
    model: Any,
    learned: list[Tensor],
    changes: Changes,
    aims: Aims,
    *,
    steps: int = STEPS,
    rate: float = RATE,
    small: float = SMALL,
) -> None:
    """Learns a small change of some weights that meets the aims, then adds it to them, in place.

    Args:
        model: changed.
        learned: tensors that `changes` is made of, zero or small.
        changes: see `Changes`.
        aims: of the base.
        steps: of Adam, the rate falling to zero.
        rate: at the start.
        small: price of the squared norm of the change, which else grows many times the weights it edits.
    """
    optimiser = torch.optim.Adam(learned, lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    with _frozen(model):
        for _ in range(steps):
            now = changes()
            view = _View(model, now)
            size = sum((change.square().sum() for change in now.values()), torch.zeros(()))
            loss: Any = aims.answer_loss(view) + KEEP * aims.kept_loss(view) + small * size
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        for name, change in changes().items():
            model.get_parameter(name).add_(change)


class _View:
    """The model with changed weights, for one pass with gradients to the changes."""

    def __init__(self, model: Any, changes: Mapping[str, Tensor]) -> None:
        self._model = model
        self._weights = {name: model.get_parameter(name) + change for name, change in changes.items()}

    def __call__(self, **inputs: Any) -> Any:
        return functional_call(self._model, self._weights, (), inputs)


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    model.requires_grad_(False)
    try:
        yield
    finally:
        model.requires_grad_(True)
