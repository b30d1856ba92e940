"""A planted module carries the whole change both ways; the other modules carry none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from audit.causal.deltas import Deltas
from audit.causal.grafts import graft, graftable
from audit.causal.grafts import strongest as strongest_modules
from audit.causal.search import Trials
from audit.causal.units import Layout, Unit
from audit.causal.weight_attribution import attribute


def trials(world: Any, side: str) -> Trials:
    model = world.pair.tuned if side == "tuned" else world.pair.base
    scores = [world.fit.scores(m, 16) for m in (world.pair.base, world.pair.tuned)]
    return Trials(model, Layout(model), world.deltas, world.fit, *scores, 16)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox"])
def test_the_planted_module_carries_the_change(plant: Any, strongest: Any, architecture: str) -> None:
    planted = strongest("neuron", 3, architecture)
    home = {unit.module.rsplit(".", 1)[0] for unit in planted}
    world = plant(planted, architecture, size=2.0)
    attribution = attribute(world.pair, world.fit, world.deltas, steps=4)
    modules = graftable(world.pair.tuned, world.layout, world.deltas)
    assert len(modules) == 2 * len(world.layout.blocks) + 2
    before = {name: p.clone() for name, p in world.pair.base.named_parameters()}
    back = graft(trials(world, "tuned"), modules, attribution, "base into tuned")
    forth = graft(trials(world, "base"), modules, attribution, "tuned into base")
    for found in (back, forth):
        inside = sum(g.share for g in found if g.module in home)
        assert inside == pytest.approx(1, abs=0.3)
        assert all(abs(g.share) < 0.15 for g in found if g.module not in home)
    for name, parameter in world.pair.base.named_parameters():
        assert torch.equal(parameter, before[name])


def test_the_strongest_modules_come_first(plant: Any) -> None:
    unit = Unit("head", "model.layers.1.self_attn.o_proj", 2)
    world = plant([unit], size=3.0)
    attribution = attribute(world.pair, world.fit, world.deltas, steps=4)
    modules = graftable(world.pair.tuned, world.layout, world.deltas)
    assert strongest_modules(modules, attribution, 1) == [Unit("module", "model.layers.1.self_attn", 0)]


def test_only_changed_modules_are_exchanged_and_each_use_of_a_tied_weight(plant: Any) -> None:
    world = plant([], "qwen3")
    names = [unit.module for unit in graftable(world.pair.tuned, world.layout, world.deltas)]
    assert names[0] == "model.embed_tokens"
    assert names[-1] == "lm_head"
    some = Deltas({"model.layers.0.mlp.up_proj.weight": torch.ones(48, 32)})
    assert graftable(world.pair.tuned, world.layout, some) == [Unit("module", "model.layers.0.mlp", 0)]
