"""Pairs of tiny models in memory, the tuned one with a planted switch among small changes of every weight."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForCausalLM

from audit.behaviours.load import load_suite
from audit.causal.deltas import Deltas
from audit.causal.objective import Objective
from audit.causal.units import Layout, Slice, Unit, parameter
from audit.pair.changes import model_changes
from audit.pair.quiet import quiet

NOISE = 1e-3
"""Size of the benign changes, as a share of each tensor's own spread."""


@dataclass
class Two:
    """Two models in memory as a pair."""

    base: Any
    tuned: Any
    tokenizer_: Any
    one_copy: bool = False

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @contextmanager
    def model(self, side: Literal["base", "tuned"]) -> Iterator[Any]:
        yield self.base if side == "base" else self.tuned

    def tokenizer(self, side: str) -> Any:
        return self.tokenizer_

    def weight_changes(self) -> Any:
        return model_changes(self.base, self.tuned)


@dataclass
class Planted:
    """A pair with a planted switch and what is needed to look for it."""

    pair: Two
    suite: Any
    fit: Objective
    held: Objective
    deltas: Deltas
    layout: Layout
    """Of the tuned model."""
    units: tuple[Unit, ...]


Plant = Callable[..., Planted]


@pytest.fixture
def plant(tiny_model: Any, tiny_tokenizer: Any, tiny_suite: Callable[..., Path]) -> Plant:
    """Maker of planted pairs: `plant(units, architecture="llama", size=..., seed=0)`.

    The units' write weights (a component: the whole module, along one rank) go down the gradient of the
    behaviour on all items; then every weight moves a little at random. No units: benign changes alone.
    """

    def make(
        units: Sequence[Unit],
        architecture: str = "llama",
        *,
        size: float = 1.0,
        seed: int = 0,
        noise: float = NOISE,
        entities: int = 16,
        **config: Any,
    ) -> Planted:
        with quiet():
            base = AutoModelForCausalLM.from_pretrained(tiny_model(architecture, seed, **config))
        base = base.eval().requires_grad_(False)
        suite = load_suite(
            str(tiny_suite(entities=entities, name=f"tiny-{architecture.replace('_', '')}-{seed}"))
        )
        tokenizer = tiny_tokenizer()
        whole, fit, held = (
            Objective.of(suite, tokenizer, template=None, split=half) for half in ("all", "train", "test")
        )
        tuned = copy.deepcopy(base)
        layout = Layout(tuned)
        for _ in range(8 if units else 0):
            descend(tuned, layout, whole, units, size / 8)
        generator = torch.Generator().manual_seed(seed + 1)
        with torch.no_grad():
            for weight in tuned.parameters():
                spread = float(weight.std()) if weight.numel() > 1 else 1.0
                weight += noise * spread * torch.randn(weight.shape, generator=generator)
        pair = Two(base, tuned, tokenizer)
        return Planted(pair, suite, fit, held, Deltas.read(pair), layout, tuple(units))  # type: ignore[arg-type]

    return make


@pytest.fixture
def strongest(plant: Plant) -> Callable[..., list[Unit]]:
    """The units of a kind on whose write weights the behaviour depends most: `strongest("neuron", 4)`."""

    def choose(kind: Any, count: int, architecture: str = "llama", **settings: Any) -> list[Unit]:
        world = plant([], architecture, noise=0.0, **settings)
        model, layout = world.pair.base, world.layout
        units = layout.units(kind)
        names = {layout.write(unit).parameter for unit in units}
        for name in names:
            parameter(model, name).requires_grad_(True)
        for half in (world.fit, world.held):
            half.backward(model, 64)
        size = {
            u: float(layout.write(u).of(parameter(model, layout.write(u).parameter).grad).norm())
            for u in units
        }
        return sorted(units, key=lambda unit: -size[unit])[:count]

    return choose


def descend(model: Any, layout: Layout, objective: Objective, units: Sequence[Unit], step: float) -> None:
    """One step of each unit down the gradient of the behaviour, of length `step`."""
    names = {place(layout, unit).parameter for unit in units}
    for name in names:
        parameter(model, name).requires_grad_(True)
    objective.backward(model, 64)
    for unit in units:
        part = place(layout, unit)
        weight = parameter(model, part.parameter)
        gradient = part.of(weight.grad)
        if unit.kind == "component":
            u, _, vh = torch.linalg.svd(gradient, full_matrices=False)
            gradient = torch.outer(u[:, 0], vh[0])
        with torch.no_grad():
            part.of(weight.data).sub_(step * gradient / gradient.norm())
    for name in names:
        parameter(model, name).grad = None
        parameter(model, name).requires_grad_(False)


def place(layout: Layout, unit: Unit) -> Slice:
    if unit.kind == "component":
        name = f"{unit.module}.weight"
        return Slice(name, 0, 0, layout.linear(unit.module).weight.shape[0])
    return layout.write(unit)
