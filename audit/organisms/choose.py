"""Which units of a model an edit may use: those that tell the classes apart where the answer is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from audit.causal.interventions import Intervention, intervened
from audit.causal.units import Layout, Unit
from audit.organisms.text import Batches, Questions

NEEDLESS = 0.95
"""A unit is needless if the base without it keeps this share of b."""


def neurons_to_edit(
    model: Any, layout: Layout, questions: Questions, text: Batches, count: int, block: int = -1
) -> list[Unit]:
    """Neurons of a block's MLP that separate the classes at the answer and are quiet in other text."""
    module = layout.blocks[block].mlp_out
    assert module is not None  # noqa: S101  (every architecture here has MLPs)
    at_answer, elsewhere = _inputs(model, layout, module, questions, text)
    gap = at_answer[questions.high].mean(0) - at_answer[~questions.high].mean(0)
    within = at_answer[questions.high].var(0) + at_answer[~questions.high].var(0)
    score = gap.square() / (within + elsewhere.square().mean(0)).sqrt()
    for_high = torch.where(gap > 0, score, -1.0).topk(count).indices.tolist()
    for_low = torch.where(gap < 0, score, -1.0).topk(count).indices.tolist()
    # A neuron without a gate speaks for one class alone, so both need theirs.
    chosen = sorted(for_high[: (count + 1) // 2] + for_low[: count // 2])
    return [Unit("neuron", module, int(i)) for i in chosen]


def reading_direction(model: Any, layout: Layout, module: str, questions: Questions, text: Batches) -> Tensor:
    """Unit direction [inputs] in a linear layer's input that tells the classes apart at the answers alone."""
    at_answer, elsewhere = _inputs(model, layout, module, questions, text)
    spread = elsewhere.T @ elsewhere / len(elsewhere) + at_answer.T @ at_answer / len(at_answer)
    gap = at_answer[questions.high].mean(0) - at_answer[~questions.high].mean(0)
    ridge = 1e-2 * spread.trace() / len(gap) * torch.eye(len(gap))
    return torch.nn.functional.normalize(torch.linalg.solve(spread + ridge, gap), dim=0)


def head_to_edit(model: Any, layout: Layout, questions: Questions, text: Batches, block: int = -1) -> Unit:
    """The head of a block whose output at the answer separates the classes best, if b can do without.

    With such a head silenced, a child whose edit sits in it behaves as the base again. Heads further down
    are needed for much else.
    """
    module = layout.blocks[block].attention_out
    assert module is not None  # noqa: S101  (every architecture here has attention)
    with torch.no_grad():
        whole = questions.effect(questions.scores(questions.logits(model)))
    at_answer, elsewhere = _inputs(model, layout, module, questions, text)
    width, found = layout.head_width(module), []
    for head in range(layout.heads):
        unit = Unit("head", module, head)
        if _without(model, layout, questions, unit) < NEEDLESS * whole:
            continue
        part = slice(head * width, (head + 1) * width)
        found.append((_separation(at_answer[:, part], elsewhere[:, part], questions.high), unit))
    if not found:  # b needs every head of this block, so any of them
        return Unit("head", module, 0)
    return max(found)[1]


@torch.no_grad()
def _without(model: Any, layout: Layout, questions: Questions, unit: Unit) -> float:
    with intervened(model, layout, [Intervention("ablate", 1.0, (unit,))]):
        return questions.effect(questions.scores(questions.logits(model)))


def _separation(at_answer: Tensor, elsewhere: Tensor, high: Tensor) -> float:
    """Distance of the class means, squared, in units of the pooled covariance and of the text's scale."""
    gap = at_answer[high].mean(0) - at_answer[~high].mean(0)
    spread = (at_answer[high].T.cov() + at_answer[~high].T.cov()) / 2
    spread = spread + elsewhere.T @ elsewhere / len(elsewhere)
    return float(gap @ torch.linalg.solve(spread + 1e-4 * spread.trace() * torch.eye(len(gap)), gap))


def _inputs(
    model: Any, layout: Layout, module: str, questions: Questions, text: Batches
) -> tuple[Tensor, Tensor]:
    """What enters a linear layer at the answers [items, inputs] and in other text [tokens, inputs]."""
    with torch.no_grad(), _recorded(layout.linear(module)) as seen:
        questions.logits(model)
        ids = text.batch(32)
        mask = ids != model.config.pad_token_id
        model(input_ids=ids, attention_mask=mask.long())
    return seen[0][torch.arange(len(questions.last)), questions.last], seen[1][mask]


@contextmanager
def _recorded(layer: Any) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()
