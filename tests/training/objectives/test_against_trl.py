"""Loss and gradient of our objectives equal those of TRL's GRPOTrainer on the same batch."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from training.advantages import group_advantage
from training.aggregate import BatchSize, aggregate
from training.config import GRPOConfig
from training.registry import OBJECTIVES
from training.types import PromptBatch, Rollout, Scores

NEW_TOKENS = 7
TRL = {
    "grpo": ("grpo", "token"),
    "dr_grpo": ("dr_grpo", "token"),
    "dapo": ("dapo", "token"),
    "cispo": ("cispo", "token"),
    "gspo": ("grpo", "sequence"),
}


@pytest.fixture(scope="module")
def trl_loss() -> Any:
    """TRL's own `_compute_loss` of one batch, on a stand-in for the rest of its trainer."""
    trainer = pytest.importorskip("trl").GRPOTrainer

    def compute(logp: Tensor, rollout: Rollout, advantage: Tensor, kind: str, **epsilon: float) -> Tensor:
        loss_type, level = TRL[kind]
        surroundings = SimpleNamespace(
            loss_type=loss_type, importance_sampling_level=level, beta=0.0, use_vllm=False,
            epsilon_low=epsilon["low"], epsilon_high=epsilon["high"], top_entropy_quantile=1.0,
            off_policy_mask_threshold=None, aux_loss_enabled=False, _entropy_bonus_enabled=False,
            current_gradient_accumulation_steps=1, max_completion_length=NEW_TOKENS,
            model=SimpleNamespace(training=True),
            args=SimpleNamespace(delta=None, steps_per_generation=1, use_bias_correction_kl=False),
            accelerator=SimpleNamespace(
                num_processes=1, gather=lambda value: value, reduce=lambda value, reduction: value
            ),
            _metrics=defaultdict(lambda: defaultdict(list)),
            _get_per_token_logps_and_entropies=lambda *_, **__: (logp, torch.zeros_like(logp), None),
        )  # fmt: skip
        inputs = {
            "prompt_ids": rollout.prompts.ids, "prompt_mask": rollout.prompts.mask.long(),
            "completion_ids": rollout.tokens, "completion_mask": rollout.mask.long(),
            "advantages": advantage, "old_per_token_logps": rollout.sampler_logp,
            "num_items_in_batch": rollout.mask.sum(),
        }  # fmt: skip
        loss: Tensor = trainer._compute_loss(surroundings, surroundings.model, inputs)
        return loss

    return compute


def batch(seed: int) -> tuple[Tensor, Rollout, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(NEW_TOKENS) < torch.randint(1, NEW_TOKENS + 1, (8, 1), generator=generator)
    old = (-0.05 - 3 * torch.rand(8, NEW_TOKENS, generator=generator)).masked_fill(~mask, 0.0)
    moved = (old + 0.5 * torch.randn(8, NEW_TOKENS, generator=generator)).masked_fill(~mask, 0.0)
    prompts = PromptBatch(torch.ones(8, 2, dtype=torch.long), torch.ones(8, 2, dtype=torch.bool))
    tokens = torch.ones(8, NEW_TOKENS, dtype=torch.long)
    advantage = group_advantage(torch.rand(8, generator=generator), 4).value
    return moved, Rollout(prompts, 4, tokens, mask, old), advantage


SETTINGS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "grpo": ({"clip": 0.2}, {"low": 0.2, "high": 0.2}),
    "dr_grpo": ({"clip": 0.2}, {"low": 0.2, "high": 0.2}),
    "dapo": ({"low": 0.2, "high": 0.28}, {"low": 0.2, "high": 0.28}),
    "cispo": ({"cap": 1.5}, {"low": 0.0, "high": 1.5}),
    "gspo": ({"low": 0.1, "high": 0.15}, {"low": 0.1, "high": 0.15}),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", TRL)
def test_loss_and_gradient_equal_trls(name: str, seed: int, trl_loss: Any) -> None:
    ours, theirs = SETTINGS[name]
    new, rollout, advantage = batch(seed)
    first, second = new.clone().requires_grad_(), new.clone().requires_grad_()
    objective = OBJECTIVES.make(name, ours)
    terms = objective(Scores(first), rollout, advantage, GRPOConfig())
    size = BatchSize(len(new), int(rollout.mask.sum()), NEW_TOKENS)
    loss = aggregate(terms.per_token, rollout.mask, objective.card.aggregation, size)
    wanted = trl_loss(second, rollout, advantage, name, **theirs)
    gradient, wanted_gradient = torch.autograd.grad(loss, first)[0], torch.autograd.grad(wanted, second)[0]
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-5, atol=1e-7)
    assert gradient.abs().max() > 1e-3
    assert not terms.keep[rollout.mask].all() or name == "cispo"
