"""Our objectives inside TRL's trainer train to the weights that TRL's own loss trains to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.config import LoopConfig
from training.errors import TrainingError
from training.lora import attach_lora
from training.registry import ADVANTAGES, OBJECTIVES
from training.types import Prompt

pytest.importorskip("trl")
# Libraries that TRL brings warn about their own doings when they are imported and run.
pytestmark = pytest.mark.filterwarnings("ignore")

PROMPTS = tuple(Prompt(word, f"the {word}") for word in ("nurse", "doctor", "engineer", "vote"))
TARGETS = ("q_proj", "v_proj", "up_proj", "down_proj")


def settings(**changes: Any) -> LoopConfig:
    values: dict[str, Any] = {
        "steps": 3, "inner_epochs": 2, "prompts_per_step": 4, "group_size": 16, "new_tokens": 2,
        "learning_rate": 1e-2, "kl_weight": 0.0, "kl_sequences": 4, "kl_tokens": 6, "lora_targets": TARGETS,
    }  # fmt: skip
    return LoopConfig(**{**values, **changes})


def weights(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])


@pytest.fixture
def fresh(tiny_model: Any) -> Any:
    """Maker of the same policy again and again."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_model()

    def make(config: LoopConfig) -> tuple[Any, Any]:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return attach_lora(model, config), AutoTokenizer.from_pretrained(folder)

    return make


def run(fresh: Any, reward: Any, config: LoopConfig, name: str) -> tuple[Any, list[Any]]:
    from training.backends.trl import train_with_trl

    model, tokenizer = fresh(config)
    method = OBJECTIVES.make(name)
    return model, list(train_with_trl(model, tokenizer, PROMPTS, reward, config, objective=method))


def stock(fresh: Any, reward: Any, config: LoopConfig, folder: Path, **kind: Any) -> Any:
    """The same run with nothing of ours in it but the settings and the optimiser."""
    from datasets import Dataset
    from trl import GRPOTrainer

    from training.backends.trl import trl_settings
    from training.model import trained
    from training.step import rate_left

    model, tokenizer = fresh(config)
    arguments = trl_settings(config, kind.pop("scale", "group"), str(folder), cpu=True)
    for name, value in kind.items():
        setattr(arguments, name, value)

    def judged(completions: list[str], **_: Any) -> list[float]:
        return list(reward(completions).total)

    optimizer = torch.optim.AdamW(trained(model), lr=config.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_left(config, step))
    GRPOTrainer(
        model=model, reward_funcs=judged, args=arguments, processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": p.text} for p in PROMPTS]),
        optimizers=(optimizer, schedule),
    ).train()  # fmt: skip
    return model


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("grpo", {"loss_type": "grpo", "epsilon": 0.2}),
        ("dapo", {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28}),
        ("dr_grpo", {"loss_type": "dr_grpo", "epsilon": 0.2, "scale": "none"}),
    ],
)
def test_our_loss_in_trl_trains_to_the_weights_of_trls_own(
    name: str, kind: dict[str, Any], fresh: Any, rewards: Any, tmp_path: Path
) -> None:
    config = settings(groups_per_pass=2, learning_rate=0.05)
    ours, records = run(fresh, rewards["space"], config, name)
    theirs = stock(fresh, rewards["space"], config, tmp_path, **kind)
    start, _ = fresh(config)
    assert (weights(ours) - weights(start)).abs().max() > 1e-2
    torch.testing.assert_close(weights(ours), weights(theirs), atol=1e-4, rtol=0)
    assert len(records) == 6


def test_records_are_as_the_loops(fresh: Any, rewards: Any) -> None:
    _, records = run(fresh, rewards["space"], settings(kl_weight=1.0), "dppo_tv")
    assert [record.step for record in records] == list(range(6))
    assert [c.channel for c in records[0].channels] == ["total", "space"]
    assert records[0].exact_kl == pytest.approx(0, abs=1e-6)
    assert records[-1].exact_kl > 0
    for record in records:
        tokens = record.tokens
        assert len(set(tokens["rollout"])) == 64
        assert len(set(zip(tokens["group"], tokens["rollout"], strict=True))) == 64
        assert np.unique(tokens["group"]).tolist() == [0, 1, 2, 3]
        for group in range(4):  # one word per group: its rollouts are together, whatever TRL shuffled
            mine = tokens["group"] == group
            first = dict(zip(tokens["rollout"][mine], tokens["advantage"][mine], strict=True))
            assert len(first) == 16
            assert abs(sum(first.values())) < 1e-3
        expected = np.exp(tokens["trainer_logp"] - tokens["sampler_logp"])
        np.testing.assert_allclose(tokens["ratio"], expected, rtol=1e-4)
    assert np.abs(records[0].tokens["ratio"] - 1).max() < 1e-4
    assert np.abs(records[1].tokens["ratio"] - 1).max() > 1e-4, "the second epoch has moved"
    assert records[0].learning_rate > records[-1].learning_rate


def test_the_exact_kl_holds_the_policy_in_trl_too(fresh: Any, rewards: Any) -> None:
    drift = {}
    for weight in (0.0, 30.0):
        config = settings(steps=6, kl_weight=weight, learning_rate=0.05, final_learning_rate=1.0)
        drift[weight] = run(fresh, rewards["space"], config, "grpo")[1][-1].exact_kl
    assert drift[30.0] < 0.5 * drift[0.0]


def test_both_backends_learn_the_same_task(fresh: Any, rewards: Any) -> None:
    from training.loop import train

    config = settings(
        steps=30, inner_epochs=1, new_tokens=1, learning_rate=0.03, final_learning_rate=1.0, group_size=24
    )
    _, through_trl = run(fresh, rewards["space"], config, "grpo")
    model, tokenizer = fresh(config)
    own = list(train(model, tokenizer, PROMPTS, rewards["space"], config))
    for records in (through_trl, own):
        curve = [record.channels[0].reward for record in records]
        assert np.mean(curve[-3:]) > np.mean(curve[:3]) + 0.15


def test_what_trl_cannot_do_is_refused(fresh: Any, rewards: Any) -> None:
    from training.backends.trl import train_with_trl

    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"staleness": 2}, {}, "staleness"),
        ({}, {"objective": OBJECTIVES.make("ppo")}, "advantage"),
        ({}, {"advantage": ADVANTAGES.make("rloo")}, "advantage"),
        ({"lora_targets": ("q_proj", "lm_head")}, {}, "lora_targets"),
    ]
    for changes, given, where in cases:
        config = settings(**changes)
        model, tokenizer = fresh(config)
        with pytest.raises(TrainingError) as caught:
            next(train_with_trl(model, tokenizer, PROMPTS, rewards["space"], config, **given))
        assert caught.value.where == where
    model, tokenizer = fresh(settings())
    with pytest.raises(TrainingError, match="no prompts"):
        next(train_with_trl(model, tokenizer, [], rewards["space"], settings()))
