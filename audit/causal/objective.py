"""A behaviour suite as a differentiable score of a model: what attributions and searches optimise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audit.behaviours.logprobs import Row, Total, check_requests, row_logprobs, rows_of
from audit.behaviours.suite import Suite
from audit.behaviours.tokens import Request, requests_of
from audit.errors import CheckpointError, SuiteError
from audit.measures.layout import Contrast, lay_out
from audit.progress import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Half = Literal["train", "test", "all"]
"""Items of a suite: what is chosen is chosen on train, and reported on test."""


@dataclass(frozen=True)
class Objective:
    """The items of one suite in one form, and how their scores add up to the effect b.

    m and b equal `audit.behaviours.score` and `audit.measures.effect`; gradients flow to whatever requires
    them: weights, or a residual that a hook puts into the model.
    """

    suite: str
    half: Half
    items: tuple[str, ...]
    entities: tuple[str, ...]
    groups: tuple[str | None, ...]
    contrast: Contrast | None
    requests: tuple[Request, ...]
    showing: tuple[int, ...]
    """How many of each request's continuations, the first ones, show the behaviour."""
    length_normalised: bool
    weights_N: Float[Tensor, " N"]
    """d b / d m of each item, float64: b is linear in m."""
    vocabulary: int | None

    @classmethod
    def of(
        cls,
        suite: Suite,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: str | None,
        split: Half = "all",
        device: torch.device | str = "cpu",
        vocabulary: int | None = None,
    ) -> Objective:
        """The objective of a suite.

        Args:
            suite: what is asked.
            tokenizer: of both models.
            template: Jinja chat template; None is the plain form.
            split: which items.
            device: the models'.
            vocabulary: token ids from here on are cut before the softmax.

        Raises:
            SuiteError: no item is in the split, a group of the contrast has none there, or an item cannot
                be rendered or tokenised.
        """
        items = tuple(item for item in suite.items if split in ("all", item.split))
        entities = tuple(item.entity for item in items)
        groups = tuple(item.group for item in items)
        weights = _weights(suite, entities, groups, split)
        return cls(
            suite=suite.card.name,
            half=split,
            items=tuple(item.id for item in items),
            entities=entities,
            groups=groups,
            contrast=suite.card.contrast,
            requests=tuple(requests_of(suite.model_copy(update={"items": items}), tokenizer, template)),
            showing=tuple(len(item.showing) for item in items),
            length_normalised=suite.card.length_normalised,
            weights_N=torch.tensor(weights, dtype=torch.float64, device=device),
            vocabulary=vocabulary,
        )

    def __len__(self) -> int:
        """Number of items N."""
        return len(self.items)

    def m(self, model: PreTrainedModel, rows: Sequence[int]) -> Float[Tensor, " n"]:
        """Scores of some items, float64 nats, in the order of `rows`, from one forward pass.

        Raises:
            SuiteError: an item is longer than the model's context or uses a token outside the vocabulary.
            CheckpointError: a score is not finite.
        """
        requests = [self.requests[row] for row in rows]
        check_requests(model, requests, self.vocabulary)
        found = row_logprobs(model, requests, self.sequences(rows), self.vocabulary)
        scores = [self._score(found, k, row) for k, row in enumerate(rows)]
        return _finite(torch.stack(scores), requests)

    def sequences(self, rows: Sequence[int]) -> list[Row]:
        """The token sequences that `m` of these items runs, in the order of its batch.

        No two items share one, so that the gradient at a sequence is that of one item: the first of its
        `targets` says which, as a place in `rows`.
        """
        return [
            Row(row.ids, tuple((k, j) for _, j in row.targets))
            for k, number in enumerate(rows)
            for row in rows_of([self.requests[number]])
        ]

    def effect(self, m: Float[Tensor, " n"], rows: Sequence[int] | None = None) -> Float[Tensor, ""]:
        """The effect b of all items; given `rows`, their part of that sum."""
        weights = self.weights_N if rows is None else self.weights_N[list(rows)]
        if weights.shape != m.shape:
            raise ValueError(f"{len(m)} scores for {len(weights)} items")
        return (weights.to(m.device) * m.double()).sum()

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        """Row numbers of items of like length together; an item's sequences are never parted.

        A batch has at most `batch_size` sequences, but for a single item that needs more.
        """
        order = sorted(range(len(self)), key=lambda row: (-_length(self.requests[row]), row))
        batch: list[int] = []
        size = 0
        for row in order:
            needed = len(rows_of([self.requests[row]]))
            if batch and size + needed > batch_size:
                yield batch
                batch, size = [], 0
            batch.append(row)
            size += needed
        if batch:
            yield batch

    @torch.no_grad()
    def scores(
        self, model: PreTrainedModel, batch_size: int, progress: Advance = lambda done: None
    ) -> Float[Tensor, " N"]:
        """Scores m of every item, without gradient, on the CPU."""
        found = torch.zeros(len(self), dtype=torch.float64)
        for rows in self.batches(batch_size):
            found[rows] = self.m(model, rows).cpu()
            progress(len(rows))
        return found

    def backward(
        self, model: PreTrainedModel, batch_size: int, progress: Advance = lambda done: None
    ) -> Float[Tensor, " N"]:
        """One pass over all items that accumulates d b / d (whatever requires a gradient); returns m.

        Each batch's graph is freed before the next one is built.
        """
        found = torch.zeros(len(self), dtype=torch.float64)
        for rows in self.batches(batch_size):
            with torch.enable_grad():
                m = self.m(model, rows)
                self.effect(m, rows).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            found[rows] = m.detach().cpu()
            progress(len(rows))
        return found

    def _score(self, found: dict[tuple[int, int], Total], k: int, row: int) -> Tensor:
        sums = [found[k, j] for j in range(len(self.requests[row].continuations))]
        logps = torch.stack([s.total / max(s.tokens, 1) if self.length_normalised else s.total for s in sums])
        shows = self.showing[row]
        return logps[:shows].logsumexp(0) - logps[shows:].logsumexp(0)


def _length(request: Request) -> int:
    return len(request.prompt) + max(len(ids) for ids in request.continuations)


def _weights(
    suite: Suite, entities: Sequence[str], groups: Sequence[str | None], split: Half
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    try:
        layout = lay_out(
            np.array(entities, dtype=object), np.array(groups, dtype=object), suite.card.contrast
        )
    except ValueError as error:
        fix = "give items to both splits, and in a contrast to both groups of each split"
        where = f"suite {suite.card.name!r}, split {split!r}"
        raise SuiteError(
            f"The suite cannot be scored on this split: {error}.", where=where, fix=fix
        ) from error
    weights = np.zeros(len(entities))
    weights[layout.kept] = layout.weight
    return weights


def _finite(scores: Tensor, requests: Sequence[Request]) -> Tensor:
    finite = torch.isfinite(scores)
    if not finite.all():
        where = requests[int((~finite).nonzero()[0])].where
        fix = "check the weights for NaN or infinite values, or load the model in float32"
        raise CheckpointError("The model's log-probabilities are not finite.", where=where, fix=fix)
    return scores
