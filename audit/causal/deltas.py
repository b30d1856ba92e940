"""The change of every weight between base and tuned model, read by slices and singular components."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audit.causal.units import Layout, Slice, Unit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from audit.pair.load import ModelPair

COMPONENTS = 16
"""Singular components kept of each weight's change, at most."""
EXACT = 256
"""Up to this many rows or columns the whole decomposition is cheap; above, a seeded randomised one (Halko,
Martinsson and Tropp 2011, arXiv 0909.4061) finds the leading components."""
NEGLIGIBLE = 1e-5


class Factors(NamedTuple):
    """Leading singular components of a weight's change, largest first: change = (u * sigma) v^T + rest."""

    u: Float[Tensor, "I K"]
    sigma: Float[Tensor, " K"]
    v: Float[Tensor, "J K"]


@dataclass
class Deltas:
    """Delta W = tuned - base of every tensor that changed, float32 on the CPU.

    Names are those of the model without an adapter. A weight that is tied in both models is here once, by its
    first name; asking by another of its names finds it. Rows that only one model has are left out.
    """

    changes: dict[str, Tensor]
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names of weights tied in both models -> the name in `changes`."""
    _factors: dict[str, Factors] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, pair: ModelPair) -> Deltas:
        """The changes of a pair; one tensor of each model is read at a time."""
        changes, seen = {}, set()
        for name, base, tuned in pair.weight_changes():
            seen.add(name)
            change = tuned - base
            if change.any():
                changes[name] = change.cpu()
        if pair.one_copy:  # an adapter changes one use of a tied weight, and each use is read by its own name
            return cls(changes)
        with pair.model("base") as model:
            groups = tied_names(model)
        return cls(changes, {other: names[0] for names in groups for other in names[1:] if other not in seen})

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters that changed, in the order of the model."""
        return tuple(self.changes)

    def of(self, name: str) -> Tensor | None:
        """The change of a parameter; None where it did not change."""
        return self.changes.get(self.aliases.get(name, name))

    def slice(self, part: Slice) -> Tensor:
        """The change of a part of a parameter, as a view; rows that only one model has are left out.

        Raises:
            ValueError: the parameter did not change.
        """
        change = self.of(part.parameter)
        if change is None:
            raise ValueError(f"{part.parameter} did not change")
        stop = min(part.stop, change.shape[part.axis])
        return change.narrow(part.axis, min(part.start, stop), stop - min(part.start, stop))

    def norm(self, layout: Layout, unit: Unit) -> float:
        """Frobenius norm of the change of everything that belongs to a neuron, head, row or component."""
        if unit.kind == "component":
            factors = self.factors(unit.module)
            return 0.0 if factors is None else float(factors.sigma[unit.index])
        parts = [part for part in layout.slices(unit) if self.of(part.parameter) is not None]
        return math.sqrt(sum(float(self.slice(part).pow(2).sum()) for part in parts))

    def factors(self, module: str) -> Factors | None:
        """The leading singular components of a module's weight change, `COMPONENTS` at most.

        None where the weight did not change, or is no matrix.
        """
        name = self.aliases.get(f"{module}.weight", f"{module}.weight")
        change = self.changes.get(name)
        if change is None or change.ndim != 2:
            return None
        if name not in self._factors:
            self._factors[name] = leading_factors(change)
        return self._factors[name]

    def component(self, module: str, index: int) -> Tensor:
        """Component `index` (from 0) of a module's weight change, sigma u v^T, laid out as the weight.

        Raises:
            ValueError: the weight did not change, or its change has no such component.
        """
        factors = self.factors(module)
        if factors is None or not 0 <= index < len(factors.sigma):
            raise ValueError(f"the change of {module} has no singular component {index}")
        return factors.sigma[index] * torch.outer(factors.u[:, index], factors.v[:, index])


def leading_factors(change: Float[Tensor, "I J"]) -> Factors:
    """The leading singular components of a matrix, `COMPONENTS` at most, without negligible ones."""
    if min(change.shape) <= EXACT:
        u, sigma, vh = torch.linalg.svd(change, full_matrices=False)
        v = vh.T
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            u, sigma, v = torch.svd_lowrank(change, q=COMPONENTS + 8, niter=4)
    kept = min(COMPONENTS, max(1, int((sigma > NEGLIGIBLE * sigma[0]).sum())))
    return Factors(u[:, :kept].contiguous(), sigma[:kept].contiguous(), v[:, :kept].contiguous())


def plain_name(name: str) -> str:
    """A parameter's name as in the model without an adapter."""
    return name.replace(".base_layer.", ".")


def tied_names(model: nn.Module) -> list[list[str]]:
    """Plain names of each parameter that has more than one."""
    names: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(weight), []).append(plain_name(name))
    return [found for found in names.values() if len(found) > 1]


@contextmanager
def untied(model: PreTrainedModel, deltas: Deltas) -> Iterator[Deltas]:
    """For the length of a block, each use of a changed tied weight is a parameter of its own.

    So the gradient of the unembedding is not mixed with that of the input embedding. Yields the changes with
    every use under its own name.
    """
    parted: list[tuple[Any, str, nn.Parameter]] = []
    try:
        for names in tied_names(model):
            if any(deltas.of(name) is not None for name in names):
                for name in names[1:]:
                    owner, short = _owner(model, name)
                    kept = getattr(owner, short)
                    parted.append((owner, short, kept))
                    setattr(owner, short, nn.Parameter(kept.detach().clone(), requires_grad=False))
        uses = {
            name: deltas.changes[first] for name, first in deltas.aliases.items() if first in deltas.changes
        }
        yield Deltas(deltas.changes | uses, deltas.aliases, deltas._factors)
    finally:
        for owner, short, kept in parted:
            setattr(owner, short, kept)


def _owner(model: PreTrainedModel, name: str) -> tuple[Any, str]:
    module, _, short = name.rpartition(".")
    owner: Any = model.get_submodule(module)
    return getattr(owner, "base_layer", owner), short
