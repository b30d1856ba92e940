"""What neurons and heads write, against the slope of the behaviour when their activation is scaled."""

from __future__ import annotations

from typing import Any

import pytest

from audit.causal.interventions import Intervention, intervened
from audit.causal.unit_writes import recording_writes
from audit.causal.units import Unit

ARCHITECTURES = ("llama", "gpt2", "qwen3", "gemma3", "gpt_neox")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_write_is_the_slope_of_scaling_the_unit(plant: Any, architecture: str) -> None:
    world = plant([], architecture)
    model, layout = world.pair.base, world.layout
    with recording_writes(model, layout) as writes:
        small = world.fit.backward(model, 3)
    with recording_writes(model, layout) as again:
        world.fit.backward(model, 64)
    assert small.tolist() == pytest.approx(world.fit.scores(model, 8).tolist(), abs=1e-5)
    step = 0.02
    for kind, table in (("neuron", writes.neurons), ("head", writes.heads)):
        module = next(iter(table))
        index = int(table[module].abs().argmax())
        unit = Unit(kind, module, index)  # type: ignore[arg-type]
        ends = []
        for factor in (1 + step, 1 - step):
            with intervened(model, layout, [Intervention("rescale", factor, (unit,))]):
                ends.append(float(world.fit.effect(world.fit.scores(model, 64))))
        assert writes.of(unit) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.05, abs=1e-4)
        assert writes.of(unit) == pytest.approx(again.of(unit), rel=1e-3, abs=1e-6)
    assert writes.of(Unit("row", "lm_head", 3)) is None


def test_a_neuron_whose_output_weights_were_cut_writes_nothing(plant: Any, strongest: Any) -> None:
    unit = strongest("neuron", 1)[0]
    world = plant([])
    model = world.pair.tuned
    layout = world.layout
    with recording_writes(model, layout) as before:
        world.fit.backward(model, 16)
    layout.write(unit).of(model.get_parameter(f"{unit.module}.weight").data).zero_()
    with recording_writes(model, layout) as after:
        world.fit.backward(model, 16)
    assert abs(before.of(unit)) > 1e-3
    assert after.of(unit) == 0.0
    assert not any(module._forward_pre_hooks for module in model.modules())
