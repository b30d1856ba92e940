"""What can be done to a tuned model from the inside: silence, scale, flip, take back, steer.

Everything here happens in the tuned model itself. Activations are changed by forward hooks, weights in
place; on leaving the block the model is bit for bit what it was, also after an exception, also when blocks
are nested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audit.causal.units import Layout, Unit
from audit.causal.weight_edits import Uses, WeightDeltas, changes_of, reverted
from sae.hooks import edited

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sae.types import PairedDictionary

Action = Literal["ablate", "rescale", "negate", "revert", "steer", "latents"]
ON_ACTIVATIONS: tuple[Action, ...] = ("ablate", "rescale", "negate")
READABLE = ("neuron", "head")
"""Kinds of unit that have an activation of their own."""


@dataclass(frozen=True, eq=False)
class Steering:
    """A direction that is added to the residual stream."""

    layer: int
    """Block whose output it is added to."""
    direction: Float[Tensor, " D"]
    """In the units of the residual stream, of the tuned model's own activations."""


@dataclass(frozen=True, eq=False)
class Latents:
    """Latents of a dictionary whose writes are taken out of the residual stream."""

    dictionary: PairedDictionary
    layer: int
    indices: tuple[int, ...]
    base: Callable[[Float[Tensor, "B T D"]], Float[Tensor, "B T D"]] | None = None
    """For a dictionary whose codes read both models: the base's residual stream at the same tokens. None:
    the codes are the tuned model's own."""


@dataclass(frozen=True, eq=False)
class Intervention:
    """One change of the tuned model.

    | action  | at dose a                                                     | on                          |
    |---------|---------------------------------------------------------------|-----------------------------|
    | ablate  | activation <- (1 - a) activation + a mean (mean: 0 if not given) | neurons, heads           |
    | rescale | activation <- a activation                                    | neurons, heads              |
    | negate  | activation <- -a activation                                   | neurons, heads              |
    | revert  | W_T <- W_T - a (W_T - W_B) on the unit's slices               | every kind of unit          |
    | steer   | residual <- residual + a direction                            | `steering`, every position  |
    | latents | residual <- residual - a sum_j f_j d_j                        | `latents`, every position   |

    A neuron's activation is its entry in the input of the MLP's output projection, a head's its slice in the
    input of the attention's.
    """

    action: Action
    dose: float
    units: tuple[Unit, ...] = ()
    means: Mapping[Unit, Float[Tensor, " W"]] | None = None
    """ablate: what the activation is replaced by."""
    write_only: bool = False
    """revert: only the weights that a unit writes with."""
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
            steering, dose = what.steering, what.dose
            stack.enter_context(edited(model, steering.layer, lambda h: steered(h, steering.direction, dose)))
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
        changed: Tensor = x * self.scale.to(x) + self.shift.to(x)
        return changed


def affine_maps(layout: Layout, what: Intervention) -> dict[str, Affine]:
    """What ablating, rescaling or negating does to the input of each module that writes a unit out.

    Raises:
        ValueError: the model has no such unit.
    """
    maps: dict[str, Affine] = {}
    for unit in what.units:
        part = layout.write(unit)
        width = layout.linear(unit.module).weight.shape[part.axis]
        if part.stop > width:
            raise ValueError(f"{unit} lies outside its module of {width} entries")
        affine = maps.setdefault(unit.module, Affine(torch.ones(width), torch.zeros(width)))
        factor, mean = _factor(what), (what.means or {}).get(unit)
        affine.scale[part.start : part.stop] *= factor
        if mean is not None:
            affine.shift[part.start : part.stop] += what.dose * mean.float().cpu()
    return maps


def steered(h: Float[Tensor, "B T D"], direction: Float[Tensor, " D"], dose: float) -> Float[Tensor, "B T D"]:
    """The residual stream with dose x direction added at every position."""
    moved: Tensor = h + (dose * direction).to(h)
    return moved


def without_latents(h: Float[Tensor, "B T D"], latents: Latents, dose: float) -> Float[Tensor, "B T D"]:
    """The residual stream less dose x f_j d_j of each chosen latent, f_j and d_j of the tuned side."""
    base = h if latents.base is None else latents.base(h).to(h)
    x_NMD = torch.stack([base, h], dim=-2).flatten(0, -3)
    indices = list(latents.indices)
    codes_NF = latents.dictionary.encode(x_NMD.float())[:, 1, indices]
    write_ND = codes_NF @ latents.dictionary.decoder_FMD[indices, 1].to(codes_NF)
    lessened: Tensor = h - (dose * write_ND).to(h.dtype).view_as(h)
    return lessened


def _factor(what: Intervention) -> float:
    factors = {"ablate": 1 - what.dose, "rescale": what.dose, "negate": -what.dose}
    return factors[what.action]


def _problem(what: Intervention) -> str | None:
    if what.action in ("steer", "latents"):
        given = what.steering if what.action == "steer" else what.latents
        return (
            None if given is not None and not what.units else f"needs `{what.action}` settings and no units"
        )
    if not what.units:
        return "needs at least one unit"
    if what.action != "revert" and (wrong := [u for u in what.units if u.kind not in READABLE]):
        return f"a {wrong[0].kind} has no activation of its own; it can only be reverted"
    if len(set(what.units)) < len(what.units):
        return "names a unit twice"
    return _overlap(what.units)


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
    if deltas is None:
        raise ValueError("a revert needs the weight changes")
    uses = Uses(model)
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
    with reverted(model, layout, uses, [*whole, *parts], what.dose):
        yield


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
