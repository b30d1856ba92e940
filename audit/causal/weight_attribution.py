"""Which weight changes moved a behaviour: gradient x change, summed by neuron, head, row, component, module.

Along the straight path W(t) = W_B + t dW the behaviour changes by exactly the integral of <grad b(W(t)), dW>
over t (integrated gradients of Sundararajan et al. 2017, arXiv 1703.01365, with weights in place of inputs).
One step takes the gradient at the tuned end alone; `steps` > 1 are Gauss-Legendre nodes. What the sum over
all weights misses of b_T - b_B is the completeness gap, which is always reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from audit.causal.attributed import Sums, WeightAttribution
from audit.causal.deltas import Deltas, Factors, plain_name, untied
from audit.causal.interventions import Intervention, intervened
from audit.causal.objective import Objective
from audit.causal.unit_writes import recording_writes
from audit.causal.units import Layout, Unit
from audit.progress import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sae.types import Pair

EVERYTHING = Unit("module", "", 0)


class Node(NamedTuple):
    """One point of the path from base to tuned."""

    t: float
    weight: float


def nodes(steps: int) -> list[Node]:
    """Where the gradient is taken: at the tuned end for one step, else at Gauss-Legendre nodes of [0, 1]."""
    if steps < 1:
        raise ValueError(f"{steps} steps: at least 1")
    if steps == 1:
        return [Node(1.0, 1.0)]
    places, weights = np.polynomial.legendre.leggauss(steps)
    return [Node(float((x + 1) / 2), float(w / 2)) for x, w in zip(places, weights, strict=True)]


def attribute(
    pair: Pair,
    objective: Objective,
    deltas: Deltas,
    *,
    steps: int = 1,
    batch_size: int = 16,
    writes: bool = False,
    progress: Advance = lambda done: None,
) -> WeightAttribution:
    """Takes b_T - b_B apart by weights; no gradient outlives the pass of its batch.

    Args:
        pair: the two models, opened one after the other.
        objective: the behaviour on the items that may be looked at (the fit half).
        deltas: what changed.
        steps: gradients along the path, one pass over the items each; 1 is the tuned end.
        batch_size: sequences per pass.
        writes: whether the same passes also record what neurons and heads write; one step only.
        progress: called with the number of items done, (1 + steps) x items in all.
    """
    if writes and steps > 1:
        raise ValueError("writes are recorded at the tuned end alone")
    with pair.model("base") as base, ExitStack() as stack:
        by_base = stack.enter_context(recording_writes(base, Layout(base))) if writes else None
        run = objective.backward if writes else objective.scores
        scores_base = run(base, batch_size, progress)
    with pair.model("tuned") as tuned, untied(tuned, deltas) as uses, ExitStack() as stack:
        layout = Layout(tuned)
        sums = _empty(tuned, uses)
        by_tuned = stack.enter_context(recording_writes(tuned, layout)) if writes else None
        for node in nodes(steps) if sums or writes else ():
            with _at(tuned, layout, uses, node.t), _reducing(tuned, uses, sums, node.weight):
                scores = objective.backward(tuned, batch_size, progress)
        scores_tuned = scores if steps == 1 and (sums or writes) else objective.scores(tuned, batch_size)
    effects = [float(objective.effect(scores)) for scores in (scores_base, scores_tuned)]
    return WeightAttribution(
        sums, effects[0], effects[1], steps, scores_base, scores_tuned, by_base, by_tuned
    )


def attribute_well(
    pair: Pair,
    objective: Objective,
    deltas: Deltas,
    *,
    tolerance: float,
    steps: int,
    batch_size: int,
    progress: Advance = lambda done: None,
) -> WeightAttribution:
    """One step where its completeness gap is within `tolerance`, else `steps` along the path.

    Writes are recorded, too.
    """
    found = attribute(pair, objective, deltas, batch_size=batch_size, writes=True, progress=progress)
    if found.gap <= tolerance:
        return found
    better = attribute(pair, objective, deltas, steps=steps, batch_size=batch_size, progress=progress)
    return replace(better, writes_base=found.writes_base, writes_tuned=found.writes_tuned)


@contextmanager
def _at(model: PreTrainedModel, layout: Layout, deltas: Deltas, t: float) -> Iterator[None]:
    """For the length of a block, the tuned model has the weights W_B + t dW."""
    with ExitStack() as stack:
        if t != 1:
            back = Intervention("revert", 1 - t, (EVERYTHING,))
            stack.enter_context(intervened(model, layout, [back], deltas))
        yield


def _changed(model: PreTrainedModel, deltas: Deltas) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
    for name, weight in model.named_parameters():
        change = deltas.of(plain_name(name))
        if change is not None:
            yield plain_name(name), weight, _with_axis(change)


def _factors(deltas: Deltas, name: str) -> Factors | None:
    return deltas.factors(name.removesuffix(".weight")) if name.endswith(".weight") else None


def _empty(model: PreTrainedModel, deltas: Deltas) -> dict[str, Sums]:
    found = {}
    for name, _, change in _changed(model, deltas):
        factors = _factors(deltas, name)
        along = [torch.zeros(n, dtype=torch.float64) for n in change.shape]
        kept = 0 if factors is None else len(factors.sigma)
        found[name] = Sums(along, torch.zeros(kept, dtype=torch.float64))
    return found


@contextmanager
def _reducing(model: PreTrainedModel, deltas: Deltas, sums: dict[str, Sums], weight: float) -> Iterator[None]:
    """For the length of a block, every gradient of a changed weight is reduced as it arrives, and freed."""
    changed = list(_changed(model, deltas))
    handles = []
    try:
        for name, parameter, change in changed:
            parameter.requires_grad_(True).grad = None
            hook = _reducer(change, _factors(deltas, name), sums[name], weight)
            plain: Any = parameter
            handles.append(plain.register_post_accumulate_grad_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for _, parameter, _ in changed:
            parameter.requires_grad_(False)
            parameter.grad = None


def _reducer(change: Tensor, factors: Factors | None, sums: Sums, weight: float) -> Callable[[Tensor], None]:
    def hook(parameter: Tensor) -> None:
        gradient, parameter.grad = parameter.grad, None
        if gradient is None:
            return
        gradient = _with_axis(gradient)[: len(change)].float()
        if factors is not None:
            u, sigma, v = (t.to(gradient.device) for t in factors)
            sums.components += weight * ((gradient.T @ u) * v).sum(0).mul(sigma).double().cpu()
        product = gradient.mul_(change.to(gradient.device))
        for axis, total in enumerate(sums.along):
            others = [a for a in range(product.ndim) if a != axis]
            total += weight * (product.sum(others) if others else product).double().cpu()

    return hook


def _with_axis(tensor: Tensor) -> Tensor:
    return tensor.reshape(1) if tensor.ndim == 0 else tensor
