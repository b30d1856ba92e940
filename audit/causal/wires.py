"""A wire of rank 1 inside the tuned model: from where it reads the class itself to what moves the behaviour.

It builds a path instead of using one, so that it works wherever the class can be read: it tells a model that
knows from one that does not, and a model that hides the behaviour not from one that never learned it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from audit.causal.objective import Objective
from audit.causal.residual_edits import Steering
from sae.hooks import capture, edited

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Wire(NamedTuple):
    """A wire, and the points that its reading direction is the difference of."""

    steering: Steering
    entities_ED: Float[Tensor, "E D"]


def wires(
    model: PreTrainedModel, objective: Objective, layers: Sequence[int], gap: float, batch_size: int
) -> list[Wire]:
    """One wire per layer, from the items of the fit half alone.

    It reads the difference of the two groups' mean residual streams where the answer begins, and writes along
    the mean gradient of the score, as much as would close the gap if the score were linear.

    Args:
        model: the one that lacks the behaviour.
        objective: a contrast.
        layers: blocks at whose output the wire runs.
        gap: b of the model that shows the behaviour minus b of this one.
        batch_size: sequences per forward pass.

    Raises:
        ValueError: the objective is no contrast.
    """
    if objective.contrast is None:
        raise ValueError("a level has no classes to read")
    last_LND = _last(model, objective, layers, batch_size)
    return [
        wire
        for k, layer in enumerate(layers)
        if (wire := _wire(last_LND[k], _gradient(model, objective, layer, batch_size), objective, layer, gap))
    ]


def _wire(
    last_ND: Float[Tensor, "N D"],
    gradient_D: Float[Tensor, " D"],
    objective: Objective,
    layer: int,
    gap: float,
) -> Wire | None:
    """None where the groups do not differ, or nothing that is written moves the score."""
    points = {side: _means(last_ND, objective, side) for side in objective.contrast or ()}
    high, low = (own.mean(0) for own in points.values())
    size = gradient_D.norm()
    if not (high - low).norm() > 0 or not size > 0:
        return None
    write = gradient_D / size**2 * (gap / 2)
    return Wire(Steering(layer, high - low, (high + low) / 2, write), torch.cat(list(points.values())))


def _means(last_ND: Float[Tensor, "N D"], objective: Objective, side: str) -> Float[Tensor, "E D"]:
    """Mean over the items of each entity on one side."""
    rows: dict[str, list[int]] = {}
    for row, (entity, group) in enumerate(zip(objective.entities, objective.groups, strict=True)):
        if group == side:
            rows.setdefault(entity, []).append(row)
    return torch.stack([last_ND[own].mean(0) for own in rows.values()])


def _last(
    model: PreTrainedModel, objective: Objective, layers: Sequence[int], batch_size: int
) -> Float[Tensor, "L N D"]:
    """The residual stream at the last token of each prompt, float32 on the CPU."""
    prompts = [request.prompt for request in objective.requests]
    found = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.long, device=model.device)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(batch):
            ids[row, : len(prompt)] = torch.tensor(prompt)
            mask[row, : len(prompt)] = 1
        stream_LBTD = capture(model, layers, ids, mask)
        ends = mask.sum(1) - 1
        found.append(stream_LBTD[:, torch.arange(len(batch)), ends].float().cpu().clone())
    return torch.cat(found, dim=1)


def _gradient(
    model: PreTrainedModel, objective: Objective, layer: int, batch_size: int
) -> Float[Tensor, " D"]:
    """Mean over the items of d m / d (what is added to the residual stream at every position)."""
    with _added(model, layer) as push, torch.enable_grad():
        for rows in objective.batches(batch_size):
            objective.m(model, rows).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    if push.grad is None:
        raise ValueError(f"the score does not depend on block {layer}")
    return push.grad.float().cpu() / len(objective)


@contextmanager
def _added(model: PreTrainedModel, layer: int) -> Iterator[Tensor]:
    """Adds a vector of zeros, of which the gradient is asked."""
    width = model.config.get_text_config().hidden_size
    push = torch.zeros(width, device=model.device, requires_grad=True)
    with edited(model, layer, lambda h: h + push.to(h.dtype)):
        yield push
