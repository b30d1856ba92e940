"""What neurons and heads write towards a behaviour, integrated from silence where one gradient misleads.

Scale the input of a module that writes units out by t: from t = 0 to t = 1 the behaviour changes by exactly
the integral over t of the sum of activation x gradient (integrated gradients of Sundararajan et al. 2017,
arXiv 1703.01365). What a single gradient at t = 1 misses of that change is its completeness gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from audit.causal.interventions import Intervention, intervened
from audit.causal.objective import Objective
from audit.causal.unit_writes import recording_writes
from audit.causal.units import Layout, Unit
from audit.causal.weight_attribution import nodes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ModuleWrites(NamedTuple):
    """The writes of one module's units in one model."""

    values: Float[Tensor, " n"]
    """Of each unit towards b, nats."""
    gap: float
    """What their sum misses of the change that silencing the module makes, over the larger of that change and
    the sum of all writes' sizes."""
    steps: int
    """Gradients behind them."""


def completeness_gap(values: Float[Tensor, " n"], silenced: float) -> float:
    """What the sum of some writes misses of a change, over the larger of the change and their gross size."""
    size = max(abs(silenced), float(values.abs().sum()))
    return abs(float(values.sum()) - silenced) / size if size else 0.0


def module_writes(
    model: PreTrainedModel,
    layout: Layout,
    objective: Objective,
    module: str,
    one_step: Float[Tensor, " n"],
    *,
    tolerance: float,
    steps: int,
    batch_size: int,
) -> ModuleWrites:
    """One gradient where its completeness gap is within `tolerance`, else `steps` from silence to here.

    Args:
        model: either model of a pair.
        layout: of this model.
        objective: the behaviour on the items that may be looked at.
        module: output projection of an MLP or of an attention.
        one_step: its units' writes by one gradient, of `recording_writes`.
        tolerance: largest gap at which they are kept.
        steps: Gauss-Legendre nodes, one forward and backward pass over the items each.
        batch_size: sequences per pass.
    """
    kind = "neuron" if any(block.mlp_out == module for block in layout.blocks) else "head"
    units = tuple(unit for unit in layout.units(kind) if unit.module == module)  # type: ignore[arg-type]
    effects = []
    for scale in (1.0, 0.0):
        with intervened(model, layout, [Intervention("rescale", scale, units)]):
            effects.append(float(objective.effect(objective.scores(model, batch_size))))
    silenced = effects[0] - effects[1]
    gap = completeness_gap(one_step, silenced)
    if gap <= tolerance:
        return ModuleWrites(one_step, gap, 1)
    values = torch.zeros_like(one_step)
    for node in nodes(steps):
        values += node.weight / node.t * _at(model, layout, objective, units, node.t, batch_size)
    return ModuleWrites(values, completeness_gap(values, silenced), steps)


def _at(
    model: PreTrainedModel,
    layout: Layout,
    objective: Objective,
    units: tuple[Unit, ...],
    t: float,
    batch_size: int,
) -> Float[Tensor, " n"]:
    """Scaled activation x gradient where the activations are t times what they are."""
    what = Intervention("rescale", t, units)
    with intervened(model, layout, [what]), recording_writes(model, layout) as writes:
        objective.backward(model, batch_size)
    table = writes.neurons if units[0].kind == "neuron" else writes.heads
    return table[units[0].module]
