"""Log-probabilities of continuations, batched, and the plain twin that the tests hold it equal to."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor

from audit.behaviours.tokens import Request
from audit.errors import CheckpointError, SuiteError
from audit.progress import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedModel


Thing = TypeVar("Thing")


def batches(things: Sequence[Thing], size: int) -> Iterator[Sequence[Thing]]:
    """Consecutive parts of at most `size` things."""
    return (things[start : start + size] for start in range(0, len(things), size))


@dataclass(frozen=True)
class TokenSums:
    """Log-probability of one continuation."""

    total: float
    """Sum over its tokens, nats."""
    tokens: int
    """Number of tokens summed over."""


@dataclass(frozen=True)
class Row:
    """One sequence that is run: a prompt and all but the last token of a continuation."""

    ids: tuple[int, ...]
    targets: tuple[tuple[int, int], ...]
    """(request, continuation) pairs whose tokens are read from this row."""


def continuation_logprobs(
    model: PreTrainedModel,
    requests: Sequence[Request],
    *,
    batch_size: int,
    vocabulary: int | None = None,
    progress: Advance = lambda done: None,
) -> list[list[TokenSums]]:
    """Log p(continuation | prompt) for every continuation of every request.

    One forward pass serves all continuations of one token; a longer one needs its own row. Rows are sorted
    by length and padded on the right, where a causal model cannot see the padding, so the batch size does
    not change the result beyond rounding. Only the positions that are read go through the LM head.

    Args:
        model: causal LM in eval mode.
        requests: prompts and continuations.
        batch_size: rows per forward pass.
        vocabulary: logits of higher token ids are cut off before the softmax.
        progress: called with the number of requests done.

    Raises:
        SuiteError: a sequence is longer than the model's context, or a token lies outside `vocabulary`.
        CheckpointError: the model gives log-probabilities that are not finite.
    """
    check_requests(model, requests, vocabulary)
    rows = sorted(rows_of(requests), key=lambda row: len(row.ids))
    found: dict[tuple[int, int], TokenSums] = {}
    waiting = [len(request.continuations) for request in requests]
    for batch in batches(rows, batch_size):
        scores = _run(model, requests, batch, vocabulary)
        found |= scores
        for index, _ in scores:
            waiting[index] -= 1
        progress(sum(waiting[index] == 0 for index in {index for index, _ in scores}))
    return [[found[i, j] for j in range(len(r.continuations))] for i, r in enumerate(requests)]


def rows_of(requests: Sequence[Request]) -> list[Row]:
    """Distinct sequences; a continuation is read from a longer row of its request where one begins alike."""
    targets: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for i, request in enumerate(requests):
        wanted = sorted(
            ((request.prompt + ids[:-1], j) for j, ids in enumerate(request.continuations)),
            key=lambda pair: -len(pair[0]),
        )
        own: list[tuple[int, ...]] = []
        for ids, j in wanted:
            host = next((row for row in own if row[: len(ids)] == ids), ids)
            own.append(host)
            targets.setdefault(host, []).append((i, j))
    return [Row(ids, tuple(pairs)) for ids, pairs in targets.items()]


def _spans(request: Request, ids: tuple[int, ...]) -> list[tuple[int, int]]:
    """(position whose logits predict it, token id) for each counted token of a continuation."""
    first = len(request.prompt) - 1
    return [(first + k, token) for k, token in enumerate(ids) if first + k >= 0]


@torch.no_grad()
def _run(
    model: PreTrainedModel, requests: Sequence[Request], rows: Sequence[Row], vocabulary: int | None
) -> dict[tuple[int, int], TokenSums]:
    return {
        pair: _finite(TokenSums(total.item(), tokens), requests[pair[0]].where)
        for pair, (total, tokens) in row_logprobs(model, requests, rows, vocabulary).items()
    }


class Total(NamedTuple):
    """As `TokenSums`, with the graph behind it."""

    total: Tensor
    tokens: int


def row_logprobs(
    model: PreTrainedModel, requests: Sequence[Request], rows: Sequence[Row], vocabulary: int | None
) -> dict[tuple[int, int], Total]:
    """One forward pass: log p of every (request, continuation) pair of the rows, differentiable.

    Totals are float64 scalars on the model's device; see `continuation_logprobs` for the arguments.
    """
    spans = {
        (i, j): _spans(requests[i], requests[i].continuations[j]) for row in rows for i, j in row.targets
    }
    positions = sorted({position for span in spans.values() for position, _ in span})
    if not positions:
        return {pair: Total(torch.zeros((), dtype=torch.float64, device=model.device), 0) for pair in spans}
    place = {position: k for k, position in enumerate(positions)}
    logits = _logits_at(model, rows, positions)[..., :vocabulary]
    found = {}
    for b, row in enumerate(rows):
        for pair in row.targets:
            picked = logits[b, [place[position] for position, _ in spans[pair]]].float().log_softmax(-1)
            tokens = torch.tensor([token for _, token in spans[pair]], device=picked.device)
            found[pair] = Total(picked.gather(-1, tokens[:, None]).double().sum(), len(tokens))
    return found


def _finite(sums: TokenSums, where: str) -> TokenSums:
    if not torch.isfinite(torch.tensor(sums.total)):
        fix = "check the weights for NaN or infinite values, or load the model in float32"
        raise CheckpointError("The model's log-probabilities are not finite.", where=where, fix=fix)
    return sums


def _logits_at(model: PreTrainedModel, rows: Sequence[Row], positions: list[int]) -> Tensor:
    """Logits of a right-padded batch at some positions: [rows, positions, vocabulary]."""
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long, device=model.device)
    mask = torch.zeros_like(ids)
    for b, row in enumerate(rows):
        ids[b, : len(row.ids)] = torch.tensor(row.ids)
        mask[b, : len(row.ids)] = 1
    keep = torch.tensor(positions, device=model.device)
    if _keeps_logits(model):
        kept: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep).logits
        return kept
    logits: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits[:, keep]


def _keeps_logits(model: PreTrainedModel) -> bool:
    """Whether the model can run its LM head at chosen positions only (a PEFT wrapper hides its signature)."""
    unwrap = getattr(model, "get_base_model", lambda: model)
    return "logits_to_keep" in inspect.signature(unwrap().forward).parameters


def check_requests(model: PreTrainedModel, requests: Sequence[Request], vocabulary: int | None) -> None:
    """Refuses what cannot be scored.

    Raises:
        SuiteError: a sequence is longer than the model's context, or a token lies outside `vocabulary`.
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for request in requests:
        for ids in request.continuations:
            length = len(request.prompt) + len(ids)
            if context is not None and length > context:
                problem = f"The item has {length} tokens, but the model's context is {context}."
                raise SuiteError(problem, where=request.where, fix="shorten the item")
            if vocabulary is not None and max(ids) >= vocabulary:
                problem = (
                    f"A continuation uses token {max(ids)}, outside the shared vocabulary of {vocabulary}."
                )
                raise SuiteError(problem, where=request.where, fix="use continuations that both models know")


@torch.no_grad()
def continuation_logprobs_plain(
    model: PreTrainedModel, requests: Sequence[Request], *, vocabulary: int | None = None
) -> list[list[TokenSums]]:
    """The same, one sequence at a time with all logits: the twin that `continuation_logprobs` must equal."""
    found = []
    for request in requests:
        sums = []
        for ids in request.continuations:
            tokens = torch.tensor([request.prompt + ids], device=model.device)
            logp = model(input_ids=tokens).logits[0, :, :vocabulary].float().log_softmax(-1)
            first = max(len(request.prompt), 1)
            terms = [logp[p - 1, tokens[0, p]].item() for p in range(first, tokens.shape[1])]
            sums.append(TokenSums(sum(terms), len(terms)))
        found.append(sums)
    return found
