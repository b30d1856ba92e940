"""Interventions laid out as changes of activations alone, in the order in which a forward pass meets them.

That is what can be done to a model whose weights are out of reach. A neuron's or head's weights that are
taken back become a term subtracted from the output of each layer that they belong to, a row of the
unembedding one subtracted from that token's logit, a component one of rank 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from audit.causal.interventions import ON_ACTIVATIONS, Intervention, affine_maps, reverted_changes
from audit.causal.units import Layout
from audit.causal.weight_edits import Change, Uses, WeightDeltas, removal_of
from sae.hooks import blocks_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Step(NamedTuple):
    """A function of `audit.causal.arithmetic` by name, and its arguments besides the activations."""

    function: str
    arguments: dict[str, Any]


@dataclass
class Visit:
    """What happens at one module of a forward pass."""

    path: str
    before: list[Step] = field(default_factory=list)
    """On its input."""
    after: list[Step] = field(default_factory=list)
    """On its output."""

    def as_plain(self) -> tuple[str, list[tuple[str, dict[str, Any]]], list[tuple[str, dict[str, Any]]]]:
        """Without any class of this package: what can be sent elsewhere."""
        return self.path, [tuple(s) for s in self.before], [tuple(s) for s in self.after]  # type: ignore[misc]


def visits(
    model: PreTrainedModel,
    layout: Layout,
    interventions: Sequence[Intervention],
    deltas: WeightDeltas | None = None,
) -> list[Visit]:
    """What interventions do at each module they touch, in the order of the forward pass.

    Args:
        model: the tuned model; its weights are not read and may be on the meta device.
        layout: of this model.
        interventions: as for `audit.causal.interventions.intervened`; they compose in their order.
        deltas: the weight changes; needed for reverts.

    Raises:
        ValueError: an intervention cannot be told as a change of activations: it needs a dictionary, or the
            weights of a layer that is neither linear nor an embedding.
    """
    found: dict[str, Visit] = {}
    for what in interventions:
        for path, place, step in _steps(model, layout, what, deltas):
            visit = found.setdefault(path, Visit(path))
            (visit.before if place == "before" else visit.after).append(step)
    order = {name: i for i, name in enumerate(_finishing(model))}
    return sorted(found.values(), key=lambda visit: order[visit.path])


def _steps(
    model: PreTrainedModel, layout: Layout, what: Intervention, deltas: WeightDeltas | None
) -> Iterator[tuple[str, str, Step]]:
    if what.action in ON_ACTIVATIONS:
        for path, affine in affine_maps(layout, what).items():
            yield path, "before", Step("scaled", {"scale": affine.scale, "shift": affine.shift})
    elif what.action == "revert":
        yield from _removals(model, layout, what, deltas)
    elif what.steering is not None:
        steering = what.steering
        arguments = {"direction": steering.direction.detach().cpu(), "dose": what.dose}
        if steering.centre is not None:
            arguments["centre"] = steering.centre.detach().cpu()
        function = "added" if steering.centre is None else "enlarged"
        yield _block(model, steering.layer), "after", Step(function, arguments)
    else:
        raise ValueError("latents are read by a dictionary, which is not where the model runs")


def _removals(
    model: PreTrainedModel, layout: Layout, what: Intervention, deltas: WeightDeltas | None
) -> Iterator[tuple[str, str, Step]]:
    groups: dict[tuple[str, int], list[Change]] = {}
    for change in reverted_changes(layout, Uses(model), what, deltas):
        groups.setdefault((change.part.parameter, change.part.axis), []).append(change)
    for (name, _), changes in groups.items():
        removal = removal_of(layout, name, changes)
        arguments: dict[str, Any] = {"delta": removal.delta.cpu()}
        if removal.kind == "rows":
            arguments["factor"] = what.dose * removal.factor
        else:
            arguments |= {"index": removal.index.cpu(), "dose": what.dose}
        yield removal.module, "after", Step(f"without_{removal.kind}", arguments)


def _block(model: PreTrainedModel, layer: int) -> str:
    block = blocks_of(model)[layer]
    names: dict[int, str] = {id(module): name for name, module in model.named_modules()}
    return names[id(block)]


def _finishing(module: nn.Module, name: str = "") -> Iterator[str]:
    """Names of all modules in the order in which they finish: a module after everything inside it."""
    for short, child in module.named_children():
        yield from _finishing(child, f"{name}.{short}" if name else short)
    yield name
