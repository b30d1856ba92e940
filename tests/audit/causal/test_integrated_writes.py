"""Integrated writes add up to what silencing their module does, where one gradient does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from audit.causal.integrated_writes import completeness_gap, module_writes
from audit.causal.interventions import Intervention, intervened
from audit.causal.unit_writes import recording_writes

ARCHITECTURES = ("llama", "gpt2", "gemma3")


def one_step(world: Any, model: Any) -> dict[str, Any]:
    with recording_writes(model, world.layout) as writes:
        world.fit.backward(model, 16)
    return writes.neurons | writes.heads


def silenced(world: Any, model: Any, module: str) -> float:
    units = tuple(u for kind in ("neuron", "head") for u in world.layout.units(kind) if u.module == module)
    with intervened(model, world.layout, [Intervention("ablate", 1.0, units)]):
        without = world.fit.effect(world.fit.scores(model, 16))
    return float(world.fit.effect(world.fit.scores(model, 16)) - without)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("place", ["mlp_out", "attention_out"])
def test_integrated_writes_are_complete_where_one_gradient_is_not(
    plant: Any, architecture: str, place: str
) -> None:
    world = plant([], architecture, entities=6)
    model, module = world.pair.tuned, getattr(world.layout.blocks[0], place)
    single, change = one_step(world, model)[module], silenced(world, model, module)
    settings: dict[str, Any] = {"steps": 16, "batch_size": 64}
    found = module_writes(model, world.layout, world.fit, module, single, tolerance=0.0, **settings)
    assert found.steps == 16
    assert found.gap == pytest.approx(completeness_gap(found.values, change), abs=1e-6)
    assert found.gap < 0.05
    assert found.gap <= completeness_gap(single, change) + 0.01
    if (architecture, place) == ("llama", "attention_out"):
        assert completeness_gap(single, change) > 0.5, "here one gradient misleads"
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_one_gradient_is_kept_where_it_is_complete(plant: Any) -> None:
    world = plant([])
    model, module = world.pair.tuned, world.layout.blocks[1].mlp_out
    single = one_step(world, model)[module]
    found = module_writes(
        model, world.layout, world.fit, module, single, tolerance=10.0, steps=4, batch_size=16
    )
    assert found.values is single
    assert found.steps == 1
    assert found.gap == pytest.approx(completeness_gap(single, silenced(world, model, module)), abs=1e-6)


def test_gaps_are_measured_against_the_larger_of_change_and_gross_writes() -> None:
    writes = torch.tensor([3.0, -1.0])
    assert completeness_gap(writes, 2.0) == 0
    assert completeness_gap(writes, 1.0) == pytest.approx(0.25)
    assert completeness_gap(torch.zeros(2), 5.0) == 1
    assert completeness_gap(torch.zeros(2), 0.0) == 0
