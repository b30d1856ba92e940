"""Attribution of weight changes: completeness, planted switches, tied weights, nothing left behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from audit.causal.units import Unit
from audit.causal.weight_attribution import attribute, attribute_well, nodes

ARCHITECTURES = ("llama", "gpt2", "qwen3", "gemma3", "gpt_neox")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_planted_neurons_come_first_and_the_sum_is_complete(
    plant: Any, strongest: Any, architecture: str
) -> None:
    planted = strongest("neuron", 4, architecture)
    world = plant(planted, architecture, size=1.0)
    found = attribute(world.pair, world.fit, world.deltas, steps=4, batch_size=8)
    ranked = found.ranked(world.layout, "neuron", 4)
    assert {c.unit for c in ranked} == set(planted)
    assert sum(c.value for c in ranked) == pytest.approx(found.change, rel=0.1)
    assert found.gap < 1e-3
    assert found.below("") == pytest.approx(found.total)
    modules = {unit.module for unit in planted}
    assert sum(found.below(module) for module in modules) == pytest.approx(found.change, rel=0.1)


def test_each_use_of_a_tied_weight_is_attributed_apart(plant: Any, tiny_tokenizer: Any) -> None:
    she, he = (tiny_tokenizer()(f" {word}")["input_ids"][0] for word in ("she", "he"))
    world = plant([Unit("row", "lm_head", she), Unit("row", "lm_head", he)], "qwen3", size=1.0)
    found = attribute(world.pair, world.fit, world.deltas, steps=6)
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= set(found.sums)
    assert {c.unit.index for c in found.ranked(world.layout, "row", 2)} == {she, he}
    assert found.gap < 1e-2


def test_integrated_gradients_close_the_gap_of_a_saturated_step(plant: Any) -> None:
    world = plant([Unit("component", "model.layers.1.mlp.gate_proj", 0)], size=12.0)
    one, many = (attribute(world.pair, world.fit, world.deltas, steps=n) for n in (1, 12))
    assert one.gap > 0.3
    assert many.gap < 0.02
    well = attribute_well(world.pair, world.fit, world.deltas, tolerance=0.1, steps=12, batch_size=16)
    assert well.steps == 12
    assert (
        attribute_well(world.pair, world.fit, world.deltas, tolerance=9.0, steps=12, batch_size=16).steps == 1
    )


def test_the_batch_size_changes_nothing_and_nothing_stays_behind(plant: Any) -> None:
    world = plant([Unit("head", "model.layers.0.self_attn.o_proj", 1)])
    before = {name: p.clone() for name, p in world.pair.tuned.named_parameters()}
    small, large = (attribute(world.pair, world.fit, world.deltas, steps=2, batch_size=n) for n in (1, 64))
    for name, sums in small.sums.items():
        assert torch.allclose(sums.along[0], large.sums[name].along[0], atol=1e-4)
        assert sums.components.sum() == pytest.approx(sums.whole, abs=1e-3) or len(sums.components) == 16
    for name, parameter in world.pair.tuned.named_parameters():
        assert parameter.grad is None
        assert not parameter.requires_grad
        assert torch.equal(parameter, before[name])


def test_a_component_is_its_rank_one_share_of_the_gradient(plant: Any) -> None:
    world = plant([Unit("component", "model.layers.1.self_attn.v_proj", 0)])
    found = attribute(world.pair, world.fit, world.deltas, steps=4)
    best = found.ranked(world.layout, "component", 1)[0]
    assert best.unit.module == "model.layers.1.self_attn.v_proj"
    gradient = torch.zeros(16, 32)
    weight = world.pair.tuned.model.layers[1].self_attn.v_proj.weight.requires_grad_(True)
    world.fit.backward(world.pair.tuned, 16)
    gradient += weight.grad
    one = attribute(world.pair, world.fit, world.deltas)
    component = world.deltas.component(best.unit.module, best.unit.index)
    wanted = (gradient * component).sum().item()
    assert one.sums[f"{best.unit.module}.weight"].components[best.unit.index] == pytest.approx(
        wanted, abs=1e-4
    )


def test_no_change_has_no_share(plant: Any) -> None:
    world = plant([], noise=0.0)
    found = attribute(world.pair, world.fit, world.deltas)
    assert (found.total, found.change, found.gap) == (0.0, 0.0, float("inf"))
    assert found.ranked(world.layout, "neuron") == []
    with pytest.raises(ValueError, match="modules nest"):
        found.by_unit(world.layout, "module")


def test_nodes_integrate_polynomials() -> None:
    for steps in (2, 5):
        assert sum(n.weight for n in nodes(steps)) == pytest.approx(1)
        assert sum(n.weight * n.t**3 for n in nodes(steps)) == pytest.approx(1 / 4)
    assert nodes(1) == [(1.0, 1.0)]
    with pytest.raises(ValueError, match="0 steps"):
        nodes(0)
