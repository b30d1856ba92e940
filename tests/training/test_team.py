"""One process alone or through accelerate, in full precision and in mixed; see test_torchrun for two."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from training.loop import train
from training.team import ALONE, Accelerated, make_team
from training.types import Prompt

PROMPTS = (Prompt("a", "the nurse"), Prompt("b", "the vote"))


@pytest.fixture
def fresh_state() -> Iterator[None]:
    """accelerate keeps its settings for the whole process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_accelerate_with_one_process_changes_nothing(
    fresh_state: None, tiny: Any, config: Any, rewards: Any
) -> None:
    losses = []
    for team in (ALONE, Accelerated(cpu=True)):
        policy = tiny()
        steps = train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], config(steps=3), team=team)
        losses.append([record.loss for record in steps])
    assert losses[0] == losses[1]
    assert team.device is None
    assert team.gather(3) == [3]
    assert team.tell("x") == "x"
    assert team.totals(1.0, 2.0) == (1.0, 2.0)


def test_mixed_precision_computes_in_bfloat16_and_keeps_the_weights(
    fresh_state: None, tiny: Any, config: Any, rewards: Any
) -> None:
    team = make_team("bf16", "cpu")
    policy = tiny(trained=True)
    seen: list[torch.dtype] = []
    layer = policy.model.get_base_model().model.layers[0].mlp.gate_proj
    layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    settings = config(steps=2, learning_rate=1e-3)
    records = list(train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], settings, team=team))
    assert torch.bfloat16 in seen
    assert all(p.dtype == torch.float32 for p in policy.model.parameters() if p.requires_grad)
    gap = np.abs(records[0].tokens["trainer_logp"] - records[0].tokens["sampler_logp"])
    assert gap.max() < 0.1, "sampler and trainer read in the same precision"


def test_sums_over_two_processes() -> None:
    """With a stand-in for accelerate whose other process brings the same again."""
    team = Accelerated.__new__(Accelerated)
    team.size, team.rank = 2, 0
    stand_in: Any = SimpleNamespace(device=torch.device("cpu"), reduce=lambda value, reduction: 2 * value)
    team._accelerator = stand_in
    assert team.totals(1.5, 2.0) == (3.0, 4.0)
    with_gradient, without = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(4))
    with_gradient.grad = torch.arange(6.0).reshape(2, 3)
    team.add_gradients([with_gradient, without])
    torch.testing.assert_close(with_gradient.grad, 2 * torch.arange(6.0).reshape(2, 3))
    torch.testing.assert_close(without.grad, torch.zeros(4))
