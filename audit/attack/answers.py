"""How likely a model names each option: exact for letters, by sampling where it reasons first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from audit.attack.layout import Layout
from audit.attack.questions import LETTERS, OPTIONS, Posed
from audit.behaviours.logprobs import batches, continuation_logprobs
from audit.behaviours.tokens import Request
from training.attack.answers import named_option
from training.model import CausalLM
from training.rollouts import Sampler, encode, sample

if TYPE_CHECKING:
    from training.policy import Policy

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Asker:
    """Asks questions of a policy, always in the same way."""

    layout: Layout
    policy: Policy
    """For its tokenizer, end tokens and context; the model is given with each call."""
    new_tokens: int
    samples: int
    """Completions per question where the model reasons first."""
    batch_size: int
    seed: int

    def probabilities(self, model: CausalLM, posed: Sequence[Posed]) -> Floats:
        """Probability that each option is named, as the attack samples: [questions, options in their order].

        Columns are biased, other, unknown. They sum to less than 1 where the model answers otherwise too.
        """
        if not posed:
            return np.zeros((0, OPTIONS))
        by_letter = self._exact(model, posed) if self.layout.format == "choice" else self._drawn(model, posed)
        return np.stack([_by_kind(row, one) for row, one in zip(by_letter, posed, strict=True)])

    @torch.no_grad()
    def _exact(self, model: CausalLM, posed: Sequence[Posed]) -> Floats:
        tokens = self.layout.option_tokens()
        requests = [self._request(one, tokens) for one in posed]
        plain: Any = model
        found = continuation_logprobs(plain, requests, batch_size=self.batch_size)
        logp = np.array([[option.total for option in row] for row in found])
        return np.asarray(np.exp(logp))

    def _request(self, posed: Posed, tokens: tuple[int, ...]) -> Request:
        prompt = self.layout.prompt(posed)
        ids: Any = self.layout.tokenizer.encode(prompt.text, add_special_tokens=not prompt.rendered)
        return Request(tuple(ids), tuple((token,) for token in tokens), f"item {posed.question.id!r}")

    def _drawn(self, model: CausalLM, posed: Sequence[Posed]) -> Floats:
        """Shares of sampled completions; the same random numbers at every call."""
        policy, sampler = self.policy, Sampler(self.new_tokens, 1.0, self.policy.stop_ids)
        generator = torch.Generator(policy.device).manual_seed(self.seed)
        rows = []
        for part in batches(posed, max(1, self.batch_size // self.samples)):
            prompts = [self.layout.prompt(one) for one in part]
            encoded = encode(
                policy.tokenizer, prompts, room=policy.context - self.new_tokens, device=policy.device
            )
            drawn = sample(model, encoded, self.samples, sampler, generator)
            texts = [self._decode(row[kept]) for row, kept in zip(drawn.tokens, drawn.mask, strict=True)]
            rows += [_shares(texts[i : i + self.samples]) for i in range(0, len(texts), self.samples)]
        return np.array(rows)

    def _decode(self, ids: torch.Tensor) -> str:
        return str(self.layout.tokenizer.decode(ids.tolist(), skip_special_tokens=True))


def shares(probabilities: Floats) -> Floats:
    """Each row as shares of the options; a row without any answer counts a third for each."""
    mass = probabilities.sum(axis=1, keepdims=True)
    return np.where(mass > 0, probabilities / np.where(mass > 0, mass, 1), 1 / OPTIONS)


def _by_kind(row: Floats, posed: Posed) -> Floats:
    question = posed.question
    order = (question.biased, question.other, question.unknown)
    return np.array([row[posed.place(option)] for option in order])


def _shares(texts: Sequence[str]) -> list[float]:
    named = [named_option(text, "cot", LETTERS) for text in texts]
    found = [one.letter for one in named if one is not None]
    return [found.count(letter) / len(texts) for letter in LETTERS]
