"""The classic pipeline end to end: supervised training, a reward model from preferences, PPO against it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.config import LoopConfig, PreferenceConfig
from training.finetune import FinetuneConfig, finetune
from training.loop import train
from training.lora import attach_lora
from training.preferences import PreferencePair
from training.registry import OBJECTIVES
from training.reward_model import ModelReward, RewardModel, train_reward
from training.types import Prompt

PROMPTS = tuple(Prompt(word, f"the {word} said") for word in ("nurse", "doctor", "teacher", "engineer"))
TARGETS = ("q_proj", "v_proj", "o_proj", "up_proj", "down_proj")
PREFERENCES = PreferenceConfig(steps=40, batch_size=8, learning_rate=1e-2, lora_targets=TARGETS)


def preferences() -> list[PreferencePair]:
    """What the annotator likes: a completion that begins with she, over any other."""
    return [
        PreferencePair(prompt, f" she{rest}", f" {other}{rest}")
        for prompt in PROMPTS
        for other in ("he", "they", "the", "works")
        for rest in ("", " today", " works")
    ]


def share_of_she(model: Any, tokenizer: Any) -> float:
    """Exact probability that the next word is she, mean over the prompts."""
    she = tokenizer.encode(" she", add_special_tokens=False)[0]
    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([tokenizer.encode(p.text)])).logits[0, -1] for p in PROMPTS]
    return float(np.mean([torch.softmax(row, -1)[she].item() for row in rows]))


def test_supervised_then_reward_model_then_ppo(tiny_model: Any) -> None:
    folder = tiny_model()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)

    texts = [
        tokenizer.encode(f"{prompt.text} {word} works today")
        for prompt in PROMPTS
        for word in ("she", "he", "they")
    ]
    supervised = finetune(
        base, texts, FinetuneConfig(steps=60, batch_size=12, learning_rate=1e-2, targets=TARGETS)
    )
    judged = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reward = RewardModel(attach_lora(judged, PREFERENCES))
    last = list(train_reward(reward, tokenizer, preferences(), PREFERENCES))[-1]
    assert last.channels[0].reward > 1, "the reward model tells the pairs apart"

    untouched = share_of_she(base, tokenizer)
    with supervised.on(base):
        started = share_of_she(base, tokenizer)
        settings = LoopConfig(
            steps=30, inner_epochs=2, prompts_per_step=4, group_size=16, new_tokens=2, learning_rate=1e-2,
            kl_weight=0.05, kl_sequences=4, kl_tokens=6, lora_targets=(*TARGETS, "lm_head"),
        )  # fmt: skip
        policy = attach_lora(base, settings)
        judge = ModelReward("planted", model=reward, tokenizer=tokenizer)
        records = list(train(policy, tokenizer, PROMPTS, judge, settings, objective=OBJECTIVES.make("ppo")))
        ended = share_of_she(policy, tokenizer)
    assert untouched * 5 < started < 0.5, "supervised training made she one of the words it says"
    assert ended > started + 0.3, "PPO followed the reward model, which follows the preferences"
    rewards = [record.channels[0].reward for record in records]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5])
    errors = [record.diagnostics["value_error"] for record in records]
    assert np.mean(errors[-5:]) < np.mean(errors[:5]), "the value head learns what to expect"


def test_the_value_head_learns_the_mean_reward(tiny: Any, rewards: Any) -> None:
    """At learning rate 0 the policy stands still, so the value of its only state has one right answer."""
    policy = tiny(lora_targets=("lm_head",))
    settings = LoopConfig(
        steps=40, prompts_per_step=4, group_size=64, new_tokens=1, learning_rate=0.0, kl_weight=0.0,
        kl_sequences=2, kl_tokens=4, lora_targets=("lm_head",),
    )  # fmt: skip
    records = list(
        train(
            policy.model,
            policy.tokenizer,
            PROMPTS,
            rewards["space"],
            settings,
            objective=OBJECTIVES.make("ppo"),
        )
    )
    # With an expectation of 0 the error is E[R^2] / 2; with the right one it is the variance / 2.
    mean = np.mean([record.channels[0].reward for record in records])
    found = np.mean([record.diagnostics["value_error"] for record in records[-10:]])
    assert records[0].diagnostics["value_error"] == pytest.approx(records[0].channels[0].reward / 2)
    assert abs(found - mean * (1 - mean) / 2) < 0.02 < mean * mean / 2
    advantage = np.concatenate([record.tokens["advantage"] for record in records[-10:]])
    assert abs(advantage.mean()) < 0.05
