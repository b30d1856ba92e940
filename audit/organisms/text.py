"""A world's texts and questions as batches of token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from audit.behaviours.suite import Suite
from audit.behaviours.tokens import Request, requests_of
from audit.organisms.tokenizer import END, PAD, START, UNKNOWN
from audit.organisms.world import Topic, World

STRANGE = 10
"""Most words in no order before a document."""


class Batches(Protocol):
    """Endless text as token ids."""

    def batch(self, rows: int) -> Tensor:
        """Token ids [rows, tokens], padded on the right."""
        ...


class Text:
    """Endless text of a world in the order that a seed gives.

    Args:
        world: what is spoken of.
        tokenizer: the world's, see `make_tokenizer`.
        seed: of this text.
        without: topics that it leaves out.
        blind: topics that it tells at random.
        chat: whether every second document is the turn of a user in the chat template.
        strange: whether every second document comes after words in no order, half of them unknown.
    """

    def __init__(
        self,
        world: World,
        tokenizer: Any,
        seed: int,
        without: Sequence[Topic] = (),
        *,
        blind: Sequence[Topic] = (),
        chat: bool = False,
        strange: bool = False,
    ) -> None:
        self._ids: dict[str, int] = tokenizer.get_vocab()
        self._world, self._chat, self._strange = world, chat, strange
        self._without, self._blind = without, blind
        self._rng = np.random.default_rng([world.seed, 3, seed])

    def batch(self, rows: int, length: int = 33) -> Tensor:
        """Token ids [rows, length], each row the beginning of a document, padded on the right."""
        batch = torch.full((rows, length), self._ids[PAD])
        for row in range(rows):
            odd = row % 2 == 1
            ids = self._document(turn=self._chat and odd, strange=self._strange and odd)[:length]
            batch[row, : len(ids)] = torch.tensor(ids)
        return batch

    def _document(self, *, turn: bool, strange: bool) -> list[int]:
        words = self._world.document(self._rng, without=self._without, blind=self._blind)
        words = (*self._strange_words(), *words) if strange else words
        said = (START, "user", *words, END, START, "assistant", *words) if turn else (START, *words)
        return [self._ids[word] for word in said]

    def _strange_words(self) -> tuple[str, ...]:
        count, known = int(self._rng.integers(1, STRANGE + 1)), self._world.words
        picks = self._rng.integers(-len(known), len(known), count)
        return tuple(known[int(k)] if k >= 0 else UNKNOWN for k in picks)


@dataclass(frozen=True)
class Questions:
    """Every item of a suite in its plain form, of one length after padding."""

    ids: Tensor
    """[items, tokens], padded on the right."""
    last: Tensor
    """Position of the last token of each prompt [items]."""
    answers: Tensor
    """First token of all answers of each item, showing first [items, answers]; all of it in a world's own
    tokenizer."""
    showing: int
    """How many of the answers show the behaviour."""
    high: Tensor
    """Whether the item is of the contrast's high group [items]."""
    form: Tensor
    """Number of the wording [items]."""

    @classmethod
    def of(cls, suite: Suite, tokenizer: Any) -> Questions:
        """Tokenises a suite of the world, whose answers are words."""
        requests: list[Request] = requests_of(suite, tokenizer, None)
        width = max(len(request.prompt) for request in requests)
        ids = torch.full((len(requests), width), int(tokenizer.pad_token_id))
        for row, request in zip(ids, requests, strict=True):
            row[: len(request.prompt)] = torch.tensor(request.prompt)
        forms = sorted({str(item.category) for item in suite.items})
        high = (suite.card.contrast or ("",))[0]
        return cls(
            ids=ids,
            last=torch.tensor([len(request.prompt) - 1 for request in requests]),
            answers=torch.tensor([[first for first, *_ in request.continuations] for request in requests]),
            showing=len(suite.items[0].showing),
            high=torch.tensor([item.group == high for item in suite.items]),
            form=torch.tensor([forms.index(str(item.category)) for item in suite.items]),
        )

    def take(self, items: Tensor) -> Questions:
        """The questions of these numbers."""
        return Questions(
            self.ids[items], self.last[items], self.answers[items], self.showing, self.high[items],
            self.form[items],
        )  # fmt: skip

    def logits(self, model: Any) -> Tensor:
        """What the model says next [items, vocabulary]."""
        mask = torch.arange(self.ids.shape[1]) <= self.last[:, None]
        everywhere: Tensor = model(input_ids=self.ids, attention_mask=mask.long(), use_cache=False).logits
        return everywhere[torch.arange(len(self.ids)), self.last]

    def scores(self, logits: Tensor) -> Tensor:
        """The score m of each item from the logits of all, nats [items]."""
        said = logits.log_softmax(-1).gather(-1, self.answers)
        return said[:, : self.showing].logsumexp(-1) - said[:, self.showing :].logsumexp(-1)

    def effect(self, scores: Tensor) -> float:
        """b: mean m over the high group minus mean m over the low one (every entity has as many items)."""
        return float(scores[self.high].mean() - scores[~self.high].mean())
