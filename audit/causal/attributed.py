"""b_T - b_B taken apart by weights, and read by neuron, head, row, component and module."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from audit.causal.unit_writes import Writes
from audit.causal.units import Kind, Layout, Unit


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
    writes_base: Writes | None = None
    """What every neuron and head writes towards b, where it was asked for."""
    writes_tuned: Writes | None = None

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

    @property
    def sign(self) -> float:
        """1 where b rose, -1 where it fell."""
        return 1.0 if self.change >= 0 else -1.0

    def push(self, layout: Layout) -> float:
        """All that moved b the way it went, before what moved it back.

        Summed over neurons, heads, rows of the unembedding, and every parameter outside them.
        """
        kinds: tuple[Kind, ...] = ("neuron", "head", "row")
        values = [v for kind in kinds for v in self.by_unit(layout, kind).values()]
        inside = {
            part.parameter
            for kind in kinds
            for module in self.by_unit(layout, kind)
            for part in layout.slices(Unit(kind, module, 0))
        }
        outside = [s.whole for name, s in self.sums.items() if name not in inside]
        values.append(torch.tensor(outside, dtype=torch.float64))
        return float(sum((self.sign * v).clamp(min=0).sum() for v in values))

    def carried(self, layout: Layout, units: Iterable[Unit]) -> float:
        """Share of `push` that some units of one kind have."""
        values = [float(self.by_unit(layout, unit.kind)[unit.module][unit.index]) for unit in units]
        push = self.push(layout)
        return self.sign * sum(values) / push if push else 0.0

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
        sign = self.sign
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
