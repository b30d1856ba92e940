"""What can be done to a tuned model from the inside: silence, scale, flip, take back, steer.

Everything here happens in the tuned model itself. Activations are changed by forward hooks, weights in
place; on leaving the block the model is bit for bit what it was, also after an exception, also when blocks
are nested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audit.causal.arithmetic import scaled
from audit.causal.residual_edits import Latents, Steering, steered, without_latents
from audit.causal.units import Layout, Unit
from audit.causal.weight_edits import Change, Uses, WeightDeltas, changes_of, reverted
from sae.hooks import edited

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Action", "Affine", "Intervention", "Latents", "Steering", "affine_maps", "intervened"]

Action = Literal["ablate", "rescale", "negate", "gate", "revert", "steer", "amplify", "rewire", "latents"]
ON_ACTIVATIONS: tuple[Action, ...] = ("ablate", "rescale", "negate", "gate")
READABLE = ("neuron", "head")
"""Kinds of unit that have an activation of their own."""


@dataclass(frozen=True, eq=False)
class Intervention:
    """One change of the tuned model.

    What each action does at dose a:

    - ablate: activation <- (1 - a) activation + a mean (0 where no mean is given);
    - rescale: activation <- a activation;
    - negate: activation <- -a activation;
    - gate: activation <- (1 + a g) activation, g the unit's strength;
    - revert: W_T <- W_T - a (W_T - W_B) on the units' slices, or all of a component or module;
    - steer: residual <- residual + a direction, at every position;
    - amplify: residual <- residual + a p v at every position, v the unit direction and
      p = <residual - centre, v>;
    - rewire: residual <- residual + a p w at every position, w another direction and p = 2 <residual -
      centre, v> / length of the direction, between -1 and 1: a wire of rank 1 from what v reads to w;
    - latents: residual <- residual - a sum_j f_j d_j, at every position.

    A neuron's activation is its entry in the input of the MLP's output projection, a head's its slice in the
    input of the attention's; other units can only be reverted.

    Raises:
        ValueError: the parts do not fit each other.
    """

    action: Action
    dose: float
    units: tuple[Unit, ...] = ()
    means: Mapping[Unit, Float[Tensor, " W"]] | None = None
    """ablate: what the activation is replaced by."""
    write_only: bool = False
    """revert: only the weights that a unit writes with."""
    strengths: tuple[float, ...] | None = None
    """gate: the gates. ablate, rescale, negate: how many times over each unit is changed; a control. None:
    once."""
    steering: Steering | None = None
    latents: Latents | None = None

    def __post_init__(self) -> None:
        if problem := _problem(self):
            raise ValueError(f"{self.action}: {problem}")

    @property
    def reads_base(self) -> bool:
        """Whether the base's activations enter: then it is never evidence for a verdict."""
        return self.latents is not None and self.latents.base is not None

    @property
    def imports_base(self) -> bool:
        """Whether weights of the base enter that could carry knowledge: anything but unembedding rows.

        Such a bypass says where a change sits; that the tuned model's own wiring is intact it does not show.
        """
        return self.action == "revert" and any(unit.kind != "row" for unit in self.units)


@contextmanager
def intervened(
    model: PreTrainedModel,
    layout: Layout,
    interventions: Sequence[Intervention],
    deltas: WeightDeltas | None = None,
) -> Iterator[None]:
    """For the length of a block, the tuned model runs with its interventions.

    They compose in their order: two reverts of one slice subtract its change twice, two scales multiply. What
    lies inside a module of the same revert is reverted once.

    Args:
        model: the tuned model, with its adapter on if it has one.
        layout: of this model.
        interventions: what is done to it.
        deltas: the weight changes; needed for reverts.

    Raises:
        ValueError: a revert without `deltas`, or a unit that the model does not have.
    """
    with ExitStack() as stack:
        for intervention in interventions:
            stack.enter_context(_one(model, layout, intervention, deltas))
        yield


@contextmanager
def _one(
    model: PreTrainedModel, layout: Layout, what: Intervention, deltas: WeightDeltas | None
) -> Iterator[None]:
    with ExitStack() as stack:
        if what.action in ON_ACTIVATIONS:
            for module, affine in affine_maps(layout, what).items():
                stack.enter_context(_mapped(model, module, affine))
        elif what.action == "revert":
            stack.enter_context(_reverting(model, layout, what, deltas))
        elif what.steering is not None:
            steering = what.steering
            stack.enter_context(edited(model, steering.layer, lambda h: steered(h, steering, what.dose)))
        elif what.latents is not None:
            latents = what.latents
            stack.enter_context(
                edited(model, latents.layer, lambda h: without_latents(h, latents, what.dose))
            )
        yield


@dataclass(frozen=True)
class Affine:
    """x <- scale x + shift on the input of a module, entry by entry."""

    scale: Float[Tensor, " W"]
    shift: Float[Tensor, " W"]

    def __call__(self, x: Float[Tensor, "... W"]) -> Float[Tensor, "... W"]:
        """In the dtype of x; untouched entries keep their values."""
        return scaled(x, self.scale, self.shift)


def affine_maps(layout: Layout, what: Intervention) -> dict[str, Affine]:
    """What ablating, rescaling or negating does to the input of each module that writes a unit out.

    Raises:
        ValueError: the model has no such unit.
    """
    maps: dict[str, Affine] = {}
    for unit, strength in zip(what.units, what.strengths or [1.0] * len(what.units), strict=True):
        part = layout.write(unit)
        width = layout.linear(unit.module).weight.shape[part.axis]
        if part.stop > width:
            raise ValueError(f"{unit} lies outside its module of {width} entries")
        affine = maps.setdefault(unit.module, Affine(torch.ones(width), torch.zeros(width)))
        mean = (what.means or {}).get(unit)
        affine.scale[part.start : part.stop] *= 1 + strength * (_factor(what) - 1)
        if mean is not None:
            affine.shift[part.start : part.stop] += strength * what.dose * mean.float().cpu()
    return maps


def _factor(what: Intervention) -> float:
    factors = {"ablate": 1 - what.dose, "rescale": what.dose, "negate": -what.dose, "gate": 1 + what.dose}
    return factors[what.action]


def _problem(what: Intervention) -> str | None:
    if what.action in ("steer", "amplify", "rewire", "latents"):
        return _residual_problem(what)
    if not what.units:
        return "needs at least one unit"
    if what.action != "revert" and (wrong := [u for u in what.units if u.kind not in READABLE]):
        return f"a {wrong[0].kind} has no activation of its own; it can only be reverted"
    if len(set(what.units)) < len(what.units):
        return "names a unit twice"
    if what.action == "gate" and what.strengths is None:
        return "needs `strengths`, one gate for each unit"
    if what.strengths is not None and (what.action == "revert" or len(what.strengths) != len(what.units)):
        return "has strengths for activations only, one for each unit"
    return _overlap(what.units)


def _residual_problem(what: Intervention) -> str | None:
    if what.units:
        return "acts on the residual stream, not on units"
    if what.action == "latents":
        return None if what.latents is not None else "needs `latents`"
    if what.steering is None:
        return "needs `steering`"
    if (what.steering.centre is not None) != (what.action != "steer"):
        return "amplify and rewire need a centre, steer has none"
    if (what.steering.write is not None) != (what.action == "rewire"):
        return "rewire alone needs something to write"
    return None


def _overlap(units: Sequence[Unit]) -> str | None:
    """Components overlap the neurons and heads that write through the same weights."""
    spectral = {unit.module for unit in units if unit.kind == "component"}
    both = [u.module for u in units if u.kind not in ("component", "module") and u.module in spectral]
    return f"components and slices of {both[0]} overlap: revert them one after the other" if both else None


@contextmanager
def _mapped(model: PreTrainedModel, module: str, affine: Affine) -> Iterator[None]:
    def hook(_module: nn.Module, inputs: Any) -> Any:
        return (affine(inputs[0]), *inputs[1:])

    handle = model.get_submodule(module).register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _reverting(
    model: PreTrainedModel, layout: Layout, what: Intervention, deltas: WeightDeltas | None
) -> Iterator[None]:
    uses = Uses(model)
    with reverted(model, layout, uses, reverted_changes(layout, uses, what, deltas), what.dose):
        yield


def reverted_changes(
    layout: Layout, uses: Uses, what: Intervention, deltas: WeightDeltas | None
) -> list[Change]:
    """What a revert takes back, part by part; what lies inside a module of the same revert only once.

    Raises:
        ValueError: there are no `deltas`.
    """
    if deltas is None:
        raise ValueError("a revert needs the weight changes")
    modules = _outermost([unit for unit in what.units if unit.kind == "module"])
    whole = [change for unit in modules for change in changes_of(unit, layout, uses, deltas)]
    covered = {change.part.parameter for change in whole}
    parts = [
        change
        for unit in what.units
        if unit.kind != "module"
        for change in changes_of(unit, layout, uses, deltas, write_only=what.write_only)
        if change.part.parameter not in covered
    ]
    return [*whole, *parts]


def _outermost(modules: Sequence[Unit]) -> list[Unit]:
    """Modules that lie in no other of them."""
    prefixes = {unit.module: f"{unit.module}." if unit.module else "" for unit in modules}
    return [
        unit
        for unit in modules
        if not any(
            unit.module != other and unit.module.startswith(prefix) for other, prefix in prefixes.items()
        )
    ]
