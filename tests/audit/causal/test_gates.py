"""Gates learned around a planted switch: they hold on items that they never saw, and leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audit.causal.arms import controls_of, gate_arm
from audit.causal.gates import LEAST, Gate, GateSettings, learned_gates, read_gates, write_gates
from audit.causal.interventions import Intervention, intervened
from audit.causal.traits import activity_of, traits_of
from audit.causal.units import Layout, Unit

DOWN = "model.layers.{}.mlp.down_proj"
NEURON = Unit("neuron", DOWN.format(1), 5)
DOCUMENTS = [[int(i) for i in np.random.default_rng(seed).integers(3, 400, 12)] for seed in range(6)]


@pytest.fixture
def tiny_suite(tiny_suite: Callable[..., Any]) -> Callable[..., Any]:
    return partial(tiny_suite, score="level", contrast=None)


@pytest.fixture
def masked(plant: Callable[..., Any]) -> Any:
    return plant((NEURON,), size=30.0, entities=16)


def learned(planted: Any, steps: int, **settings: Any) -> list[Gate]:
    m_base = planted.fit.scores(planted.pair.base, 32).numpy()
    chosen = GateSettings(steps, batch_size=32, **settings)
    return learned_gates(planted.pair.tuned, planted.layout, planted.fit, m_base, DOCUMENTS, chosen)


def intervention(gates: list[Gate], dose: float = 1.0) -> Intervention:
    units, values = tuple(gate.unit for gate in gates), tuple(gate.value for gate in gates)
    return Intervention("gate", dose, units, strengths=values)


def recovered(planted: Any, what: Intervention) -> float:
    tuned, held = planted.pair.tuned, planted.held
    with intervened(tuned, planted.layout, [what]):
        now = held.effect(held.scores(tuned, 32))
    base, lost = (held.effect(held.scores(model, 32)) for model in (planted.pair.base, tuned))
    return float((now - lost) / (base - lost))


def test_gates_bring_the_behaviour_back_on_items_they_never_saw(masked: Any) -> None:
    before = {name: weight.clone() for name, weight in masked.pair.tuned.state_dict().items()}
    masked.pair.tuned.lm_head.weight.requires_grad_(True)
    gates = learned(masked, 60, sparsity=1e-3)
    values = {gate.unit: gate.value for gate in gates}
    assert values[NEURON] < 0  # a way around the switch, of which the switch itself is a part
    assert all(abs(gate.value) >= LEAST for gate in gates)
    assert len(gates) < 64  # of 136
    assert recovered(masked, intervention(gates)) > 0.7
    assert recovered(masked, intervention(gates, 0.5)) < recovered(masked, intervention(gates))
    for name, weight in masked.pair.tuned.state_dict().items():
        assert torch.equal(weight, before[name])
    asked = [name for name, weight in masked.pair.tuned.named_parameters() if weight.requires_grad]
    assert asked == ["lm_head.weight"]
    assert all(weight.grad is None for weight in masked.pair.tuned.parameters())
    assert gates == learned(masked, 60, sparsity=1e-3)  # the same draws again


def test_retention_holds_unrelated_text(masked: Any) -> None:
    def moved(retention: float) -> float:
        gates = learned(masked, 40, retention=retention, sparsity=0.0)
        ids = torch.tensor(DOCUMENTS)
        tuned = masked.pair.tuned
        with torch.no_grad():
            plain = tuned(input_ids=ids).logits.log_softmax(-1)
            with intervened(tuned, masked.layout, [intervention(gates)]):
                gated = tuned(input_ids=ids).logits.log_softmax(-1)
        return float((plain.exp() * (plain - gated)).sum(-1).mean())

    assert moved(50.0) < 0.5 * moved(0.0)


def test_sparsity_keeps_gates_few(masked: Any) -> None:
    assert len(learned(masked, 40, sparsity=0.05)) < len(learned(masked, 40, sparsity=0.0))


def test_where_nothing_differs_nothing_is_learned(plant: Callable[..., Any]) -> None:
    same = plant((), noise=0.0)
    assert learned(same, 5) == []


def test_a_gate_scales_its_activation_and_its_control_another(masked: Any) -> None:
    gates = [Gate(NEURON, -0.5), Gate(Unit("head", "model.layers.0.self_attn.o_proj", 1), 0.75)]
    tuned, layout = masked.pair.tuned, masked.layout
    maps = {}
    with intervened(tuned, layout, [intervention(gates, 2.0)]):
        for module in (gates[0].unit.module, gates[1].unit.module):
            width = layout.linear(module).weight.shape[1]
            seen: list[torch.Tensor] = []
            handle = tuned.get_submodule(module).register_forward_pre_hook(
                lambda _module, inputs, seen=seen: seen.append(inputs[0])
            )
            tuned.get_submodule(module)(torch.ones(1, width))
            handle.remove()
            maps[module] = seen[0][0]
    assert maps[NEURON.module][5] == 0.0
    assert float(maps[NEURON.module].sum()) == len(maps[NEURON.module]) - 1
    assert float(maps["model.layers.0.self_attn.o_proj"].max()) == 2.5
    arm = gate_arm("gates", "two gates", gates)
    activity = activity_of(tuned, layout, DOCUMENTS, batch_size=4)
    traits = traits_of(tuned, layout, ["neuron", "head"], activity)
    against = controls_of(arm, traits, None, count=2, seed=0)
    for control in against.arms:
        assert not set(control.whole.units) & {gate.unit for gate in gates}
        assert control.whole.strengths is not None
        assert [strength < 0 for strength in control.whole.strengths] == [True, False]


def test_a_gate_needs_its_strength() -> None:
    with pytest.raises(ValueError, match="one gate for each unit"):
        Intervention("gate", 1.0, (NEURON,))


def test_gates_are_kept(tmp_path: Path) -> None:
    gates = [Gate(NEURON, -0.5), Gate(Unit("head", "model.layers.0.self_attn.o_proj", 1), 0.1234567890123)]
    write_gates(gates, tmp_path / "gates.json")
    assert read_gates(tmp_path / "gates.json") == gates
    assert read_gates(tmp_path / "none.json") == []


def test_gpt2_has_gates_too(plant: Callable[..., Any]) -> None:
    unit = Unit("neuron", "transformer.h.1.mlp.c_proj", 3)
    planted = plant((unit,), "gpt2", size=30.0, entities=16)
    assert Layout(planted.pair.tuned).blocks
    assert recovered(planted, intervention(learned(planted, 40))) > 0.5
