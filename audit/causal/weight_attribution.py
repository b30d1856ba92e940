"""Which weight changes moved a behaviour: gradient x change, summed by neuron, head, row, component, module.

Along the straight path W(t) = W_B + t dW the behaviour changes by exactly the integral of <grad b(W(t)), dW>
over t (integrated gradients of Sundararajan et al. 2017, arXiv 1703.01365, with weights in place of inputs).
One step takes the gradient at the tuned end alone; `steps` > 1 are Gauss-Legendre nodes. What the sum over
all weights misses of b_T - b_B is the completeness gap, which is always reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from audit.causal.deltas import Deltas, Factors, plain_name, untied
from audit.causal.interventions import Intervention, intervened
from audit.causal.objective import Objective
from audit.causal.units import Kind, Layout, Unit
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


@dataclass
class Sums:
    """Gradient x change of one parameter, summed in the ways that units need."""

    along: list[Float[Tensor, " n"]]
    """Per axis of the parameter: the sum over all other axes."""
    components: Float[Tensor, " K"]
    """Of each singular component of the change."""

    @property
    def whole(self) -> float:
        """The parameter's whole contribution to b_T - b_B."""
        return float(self.along[0].sum())


class Candidate(NamedTuple):
    """A unit and its attributed part of b_T - b_B, nats."""

    unit: Unit
    value: float


@dataclass
class WeightAttribution:
    """b_T - b_B taken apart by weights."""

    sums: dict[str, Sums]
    """By parameter; each use of a tied weight is one of its own."""
    effect_base: float
    effect_tuned: float
    steps: int
    scores_base: Float[Tensor, " N"]
    """m of the objective's items in the base."""
    scores_tuned: Float[Tensor, " N"]

    @property
    def change(self) -> float:
        """b_T - b_B of the same items."""
        return self.effect_tuned - self.effect_base

    @property
    def total(self) -> float:
        """The sum over all weights."""
        return float(sum(s.whole for s in self.sums.values()))

    @property
    def gap(self) -> float:
        """Share of b_T - b_B that the sum gets wrong, |total - change| / |change|; inf for no change."""
        return abs(self.total - self.change) / abs(self.change) if self.change else float("inf")

    def below(self, module: str) -> float:
        """A module's whole contribution, with everything inside it; "" is the model."""
        prefix = f"{module}." if module else ""
        return float(sum(s.whole for name, s in self.sums.items() if name.startswith(prefix)))

    def by_unit(self, layout: Layout, kind: Kind) -> dict[str, Float[Tensor, " n"]]:
        """Contributions of all neurons, heads, rows or components that changed: module -> [units]."""
        if kind == "component":
            return {
                name.removesuffix(".weight"): s.components
                for name, s in self.sums.items()
                if name.endswith(".weight") and len(s.components)
            }
        if kind == "module":
            raise ValueError("modules nest: see `below`")
        modules = dict.fromkeys(unit.module for unit in layout.units(kind))
        found = {module: self._sliced(layout, Unit(kind, module, 0)) for module in modules}
        return {module: values for module, values in found.items() if values is not None}

    def ranked(self, layout: Layout, kind: Kind, count: int | None = None) -> list[Candidate]:
        """Units of a kind, the ones that pushed b the way it went first; only those that pushed that way."""
        sign = 1.0 if self.change >= 0 else -1.0
        found = [
            Candidate(Unit(kind, module, int(i)), float(values[i]))
            for module, values in self.by_unit(layout, kind).items()
            for i in (sign * values).argsort(descending=True, stable=True)[:count].tolist()
            if sign * float(values[i]) > 0
        ]
        return sorted(found, key=lambda c: (-sign * c.value, c.unit))[:count]

    def _sliced(self, layout: Layout, first: Unit) -> Tensor | None:
        """One number per unit of a module: its units lie side by side in every parameter that they share."""
        total = None
        for part in layout.slices(first):
            sums = self.sums.get(part.parameter)
            if sums is not None:
                values = sums.along[part.axis].view(-1, part.stop - part.start).sum(-1)
                total = values if total is None else total + values
        return total


def attribute(
    pair: Pair,
    objective: Objective,
    deltas: Deltas,
    *,
    steps: int = 1,
    batch_size: int = 16,
    progress: Advance = lambda done: None,
) -> WeightAttribution:
    """Takes b_T - b_B apart by weights; no gradient outlives the pass of its batch.

    Args:
        pair: the two models, opened one after the other.
        objective: the behaviour on the items that may be looked at (the fit half).
        deltas: what changed.
        steps: gradients along the path, one pass over the items each; 1 is the tuned end.
        batch_size: sequences per pass.
        progress: called with the number of items done, (1 + steps) x items in all.
    """
    with pair.model("base") as base:
        scores_base = objective.scores(base, batch_size, progress)
    with pair.model("tuned") as tuned, untied(tuned, deltas) as uses:
        layout = Layout(tuned)
        sums = _empty(tuned, uses)
        for node in nodes(steps) if sums else ():
            with _at(tuned, layout, uses, node.t), _reducing(tuned, uses, sums, node.weight):
                scores = objective.backward(tuned, batch_size, progress)
        scores_tuned = scores if steps == 1 and sums else objective.scores(tuned, batch_size)
    effects = [float(objective.effect(scores)) for scores in (scores_base, scores_tuned)]
    return WeightAttribution(sums, effects[0], effects[1], steps, scores_base, scores_tuned)


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
    """One step where its completeness gap is within `tolerance`, else `steps` along the path."""
    found = attribute(pair, objective, deltas, batch_size=batch_size, progress=progress)
    if found.gap <= tolerance:
        return found
    return attribute(pair, objective, deltas, steps=steps, batch_size=batch_size, progress=progress)


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
