"""The policy as it was before training: what the divergence is measured from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from peft import PeftModel
from torch import Tensor

from training.model import CausalLM
from training.scoring import exact_kl, kl_to, log_probabilities


class Reference(Protocol):
    """Divergence from the start, on texts that were sampled from it."""

    @property
    def texts(self) -> Int[Tensor, "S L"]:
        """The texts."""
        ...

    def kl(self, model: CausalLM, chosen: Int[Tensor, " s"]) -> Tensor:
        """KL(reference || policy) per token, nats, on the texts of these numbers; gradient to the policy."""
        ...


@dataclass(frozen=True)
class Switched:
    """The reference is the model with its adapter off: nothing is stored but the texts."""

    texts: Int[Tensor, "S L"]

    def kl(self, model: CausalLM, chosen: Int[Tensor, " s"]) -> Tensor:
        """KL(reference || policy) per token, nats."""
        assert isinstance(model, PeftModel)  # noqa: S101 - `make_reference` gives others `Stored`
        return exact_kl(model, self.texts[chosen])


@dataclass(frozen=True)
class Stored:
    """The reference's log-probabilities on the texts, read once: a second model would take more memory."""

    texts: Int[Tensor, "S L"]
    logp: Float[Tensor, "S L-1 V"]

    def kl(self, model: CausalLM, chosen: Int[Tensor, " s"]) -> Tensor:
        """KL(reference || policy) per token, nats."""
        return kl_to(self.logp[chosen], model, self.texts[chosen])


def make_reference(model: CausalLM, texts: Int[Tensor, "S L"], rows: int) -> Reference:
    """The reference of a model that has not been trained yet, reading `rows` texts at once."""
    if isinstance(model, PeftModel):
        return Switched(texts)
    with torch.no_grad():
        parts = [log_probabilities(model, part) for part in torch.split(texts, rows)]
    return Stored(texts, torch.cat(parts))


@contextmanager
def untrained(model: CausalLM) -> Iterator[None]:
    """For the length of a block the model computes as it did before training.

    A model without adapter is as it was only until its first step; nothing switches it back.
    """
    if isinstance(model, PeftModel):
        with model.disable_adapter():
            yield
    else:
        yield
