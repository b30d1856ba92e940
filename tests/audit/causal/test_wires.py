"""A wire brings back what can be read, and nothing where nothing can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from audit.behaviours.files import read_suite
from audit.causal.arms import controls_of, direction_arm
from audit.causal.interventions import Intervention, intervened
from audit.causal.objective import Objective
from audit.causal.residual_edits import Steering
from audit.causal.steering_file import load_steering, save_steering
from audit.causal.units import Layout
from audit.causal.wires import wires
from audit.pair.quiet import quiet

Make = Callable[..., Path]
GAP = 2.0


@pytest.fixture
def subject(tiny_model: Make, tiny_tokenizer: Any, tiny_suite: Make) -> tuple[Any, list[Objective]]:
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(tiny_model()).eval().requires_grad_(False)
    suite = read_suite(tiny_suite(entities=16))
    return model, [Objective.of(suite, tiny_tokenizer(), template=None, split=h) for h in ("train", "test")]


def gained(model: Any, objective: Objective, what: Intervention) -> float:
    before = objective.effect(objective.scores(model, 64))
    with intervened(model, Layout(model), [what]):
        return float(objective.effect(objective.scores(model, 64)) - before)


def test_a_wire_closes_about_the_gap_that_it_is_made_for(subject: Any) -> None:
    model, (fit, _) = subject
    for wire in wires(model, fit, [0, 1], GAP, 64):
        found = gained(model, fit, Intervention("rewire", 1.0, steering=wire.steering))
        assert 0.2 * GAP < found < 1.8 * GAP
        back = gained(model, fit, Intervention("rewire", -1.0, steering=wire.steering))
        assert back < 0
        assert gained(model, fit, Intervention("rewire", 0.0, steering=wire.steering)) == pytest.approx(
            0, abs=1e-5
        )


def test_it_reads_the_groups_that_it_is_given(subject: Any) -> None:
    model, (fit, _) = subject
    (wire,) = wires(model, fit, [0], GAP, 64)
    assert wire.entities_ED.shape[0] == 8
    high, low = wire.entities_ED[:4].mean(0), wire.entities_ED[4:].mean(0)
    assert torch.allclose(wire.steering.direction, high - low, atol=1e-5)
    turned = replace(fit, groups=tuple({"high": "low", "low": "high"}[g or ""] for g in fit.groups))
    (other,) = wires(model, turned, [0], GAP, 64)
    assert torch.allclose(other.steering.direction, low - high, atol=1e-5)


def test_a_level_has_no_classes_to_read(subject: Any) -> None:
    model, (fit, _) = subject
    with pytest.raises(ValueError, match="no classes"):
        wires(model, replace(fit, contrast=None), [0], GAP, 64)


def test_where_the_groups_do_not_differ_there_is_no_wire(subject: Any) -> None:
    model, (fit, _) = subject
    alike = replace(fit, requests=tuple(fit.requests[0] for _ in fit.requests))
    assert wires(model, alike, [0], GAP, 64) == []


def test_its_controls_read_elsewhere_and_write_as_much(subject: Any) -> None:
    model, (fit, _) = subject
    (wire,) = wires(model, fit, [0], GAP, 64)
    arm = direction_arm("wire 0", "", *wire)
    assert arm.action == "rewire"
    against = controls_of(arm, None, None, count=3, seed=0)
    assert against.kind == "random directions"
    for control in against.arms:
        steering = control.whole.steering
        assert steering is not None
        assert abs(float(steering.direction @ wire.steering.direction)) < 1e-3
        assert torch.equal(steering.write, wire.steering.write)


def test_wires_are_kept_whole(subject: Any, tmp_path: Path) -> None:
    model, (fit, _) = subject
    (wire,) = wires(model, fit, [1], GAP, 64)
    save_steering([direction_arm("wire 1", "", *wire)], tmp_path / "d.safetensors")
    kept = load_steering(tmp_path / "d.safetensors")["wire 1"]
    assert kept.layer == 1
    assert kept.write is not None
    assert torch.equal(kept.write, wire.steering.write.float())


def test_a_wire_needs_both_ends() -> None:
    ends = torch.ones(3)
    with pytest.raises(ValueError, match="something to write"):
        Intervention("rewire", 1.0, steering=Steering(0, ends, ends))
    with pytest.raises(ValueError, match="something to write"):
        Intervention("amplify", 1.0, steering=Steering(0, ends, ends, ends))
    with pytest.raises(ValueError, match="centre"):
        Intervention("rewire", 1.0, steering=Steering(0, ends, None, ends))
