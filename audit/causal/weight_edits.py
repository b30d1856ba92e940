"""Taking weight changes back, for the length of a block and bit for bit.

A weight that stands alone is edited in place. One that is tied to another use, or lies below an adapter, is
left alone: its change is subtracted at the output of the layer instead. So reverting a row of a tied
unembedding leaves the input embedding as it is, and a change that is smaller than the rounding of a
half-precision weight below an adapter is not lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from audit.causal.arithmetic import without_bias, without_inputs, without_outputs, without_rows
from audit.causal.units import Layout, Slice, Unit, parameter

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTED = ".base_layer."


class WeightDeltas(Protocol):
    """The changes tuned - base, as `audit.causal.deltas.Deltas` reads them."""

    @property
    def names(self) -> Collection[str]:
        """Parameters that changed, named as without an adapter; a tied one once."""
        ...

    def of(self, name: str) -> Tensor | None:
        """The change of a parameter, without rows that only one model has; None where there is none."""
        ...

    def component(self, module: str, index: int) -> Tensor:
        """One singular component of the change of a module's weight, laid out as the weight."""
        ...


class Change(NamedTuple):
    """What one unit's revert subtracts at dose 1."""

    part: Slice
    delta: Tensor


class Uses:
    """Which parameters of a model are one tensor, and which lie below an adapter."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        groups: dict[int, list[str]] = {}
        for name, tensor in model.named_parameters(remove_duplicate=False):
            groups.setdefault(id(tensor), []).append(name)
        named = [(name, group) for group in groups.values() for name in group]
        self._group = {name.replace(ADAPTED, "."): tuple(group) for name, group in named}
        self._adapted = {name.replace(ADAPTED, ".") for name, _ in named if ADAPTED in name}

    def whole(self, name: str) -> Slice:
        """A parameter as one slice."""
        return Slice(name, 0, 0, parameter(self._model, name).shape[0])

    def alone(self, name: str) -> bool:
        """Whether editing the parameter changes this use of it and nothing else."""
        return len(self._group[name]) == 1 and name not in self._adapted

    def equals(self, name: str) -> tuple[str, ...]:
        """Every use of the same effective weight: an adapter around one use sets that use apart."""
        if name in self._adapted:
            return (name,)
        return tuple(use for use in self._group[name] if ADAPTED not in use)


def changes_of(
    unit: Unit, layout: Layout, uses: Uses, deltas: WeightDeltas, *, write_only: bool = False
) -> list[Change]:
    """What reverting a unit subtracts; a part that did not change does not appear.

    A module's revert takes back everything below its name (the whole model below the empty name). Of a tied
    tensor each use counts as a parameter of its own.
    """
    if unit.kind == "component":
        delta = deltas.component(unit.module, unit.index)
        return [Change(Slice(f"{unit.module}.weight", 0, 0, delta.shape[0]), delta)]
    if unit.kind == "module":
        parts = [uses.whole(name) for name in _below(unit.module, uses, deltas)]
    else:
        parts = [layout.write(unit)] if write_only else list(layout.slices(unit))
    found = (_read(part, uses, deltas) for part in parts)
    return [change for change in found if change is not None]


@contextmanager
def reverted(
    model: PreTrainedModel, layout: Layout, uses: Uses, changes: Sequence[Change], dose: float
) -> Iterator[None]:
    """For the length of a block, every changed part is W_T - dose x delta (or its layer behaves so)."""
    with ExitStack() as stack:
        apart: dict[tuple[str, int], list[Change]] = {}
        for change in changes:
            if uses.alone(change.part.parameter):
                stack.enter_context(_edited(parameter(model, change.part.parameter), change, dose))
            else:
                apart.setdefault((change.part.parameter, change.part.axis), []).append(change)
        for (name, _), group in apart.items():
            stack.enter_context(_subtracted(model, layout, name, group, dose))
        yield


def _below(module: str, uses: Uses, deltas: WeightDeltas) -> list[str]:
    prefix = f"{module}." if module else ""
    names = dict.fromkeys(use for name in deltas.names for use in uses.equals(name))
    return [name for name in names if name.startswith(prefix)]


def _read(part: Slice, uses: Uses, deltas: WeightDeltas) -> Change | None:
    found = (deltas.of(name) for name in (part.parameter, *uses.equals(part.parameter)))
    delta = next((tensor for tensor in found if tensor is not None), None)
    if delta is None or part.start >= delta.shape[part.axis]:
        return None
    known = Slice(part.parameter, part.axis, part.start, min(part.stop, delta.shape[part.axis]))
    return Change(known, known.of(delta))


@contextmanager
def _edited(weight: nn.Parameter, change: Change, dose: float) -> Iterator[None]:
    view = change.part.of(weight.data)
    saved = view.clone()
    try:
        # In float64, so that a revert by the whole dose gives the base's weight but for one rounding.
        view.copy_(view.double() - dose * change.delta.to(view.device).double())
        yield
    finally:
        view.copy_(saved)


@contextmanager
def _subtracted(
    model: PreTrainedModel, layout: Layout, name: str, changes: Sequence[Change], dose: float
) -> Iterator[None]:
    removal = removal_of(layout, name, changes)
    module: Any = model.get_submodule(removal.module)

    def hook(_module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return removal.of(output, inputs[0], dose)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class Removal:
    """What a layer's output loses when changes of one of its parameters are taken back."""

    module: str
    kind: Literal["outputs", "inputs", "bias", "rows"]
    """What of the layer changed: weights by output or by input, its bias, or rows of an embedding."""
    index: Tensor
    delta: Tensor
    factor: float
    """What the layer multiplies its own output with (Gemma's embedding); 1 elsewhere."""

    def of(self, y: Tensor, x: Tensor, dose: float) -> Tensor:
        """The output y [..., O] of the layer at the input x without dose x the changes."""
        if self.kind == "bias":
            return without_bias(y, self.index, self.delta, dose)
        if self.kind == "rows":
            return without_rows(y, x, self.delta, dose * self.factor)
        remove = without_outputs if self.kind == "outputs" else without_inputs
        return remove(y, x, self.index, self.delta, dose)


def removal_of(layout: Layout, name: str, changes: Sequence[Change]) -> Removal:
    """Changes of one parameter along one axis, joined, as something to subtract from the layer's output.

    Raises:
        ValueError: the layer is neither linear nor an embedding, so that its output is not linear in them.
    """
    module, _, short = name.rpartition(".")
    layer, axis = layout.linear(module), changes[0].part.axis
    device = getattr(layer, short).device
    held = torch.device("cpu") if device.type == "meta" else device
    spans = [torch.arange(c.part.start, c.part.start + c.delta.shape[axis]) for c in changes]
    index, delta = torch.cat(spans).to(held), torch.cat([c.delta for c in changes], dim=axis).to(held).float()
    if isinstance(layer, nn.Embedding):
        factor = float(getattr(layer, "scalar_embed_scale", getattr(layer, "embed_scale", 1.0)))
        return Removal(module, "rows", index, _from_the_first(index, delta), factor)
    if not layout.is_linear(module):
        problem = f"the output of {module}, a {type(layer).__name__}, is not linear in {name}"
        raise ValueError(problem)
    if short == "bias":
        return Removal(module, "bias", index, delta, 1.0)
    transposed = layout.transposed(module)
    kind: Literal["outputs", "inputs"] = "outputs" if (axis == 1) == transposed else "inputs"
    return Removal(module, kind, index, delta.T if transposed else delta, 1.0)


def _from_the_first(index: Tensor, delta: Tensor) -> Tensor:
    """Rows of an embedding's change by token id, 0 where nothing is taken back."""
    if index.numel() == int(index.max()) + 1:
        return delta
    rows = delta.new_zeros(int(index.max()) + 1, delta.shape[1])
    return rows.index_copy(0, index, delta)
