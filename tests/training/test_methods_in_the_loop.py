"""Every method through the same loop: staleness, whole models, a value head, resume, aggregation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.config import LoopConfig
from training.errors import TrainingError
from training.loop import train
from training.model import unfreeze
from training.records import StepRecord
from training.registry import ADVANTAGES, OBJECTIVES
from training.rewards import GroupReward
from training.types import Prompt

PROMPTS = tuple(
    Prompt(str(i), f"the {word}") for i, word in enumerate(["nurse", "doctor", "engineer", "vote", "tax"])
)
SMALL: dict[str, Any] = {
    "steps": 4, "prompts_per_step": 2, "group_size": 6, "new_tokens": 3, "learning_rate": 1e-2,
    "kl_sequences": 4, "kl_tokens": 6, "kl_batch": 2, "save_every": 1, "lora_targets": ("q_proj", "lm_head"),
}  # fmt: skip


def loop_config(**changes: Any) -> LoopConfig:
    return LoopConfig(**{**SMALL, **changes})


@dataclass(frozen=True)
class AnswerOf:
    """Each prompt has its own right first letter: what only a judge who knows the prompt can tell."""

    channels: tuple[str, ...] = ("right",)

    def for_prompt(self, prompt: Prompt) -> Any:
        return _StartsWith(" t" if prompt.id in "024" else " s")


@dataclass(frozen=True)
class _StartsWith:
    start: str
    channels: tuple[str, ...] = ("right",)

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        value = tuple(float(text.startswith(self.start)) for text in completions)
        return GroupReward(value, {"right": value}, tuple(min(2, len(text)) for text in completions))


@dataclass(frozen=True)
class SpaceSomewhere:
    """1 for a completion with a space, decided there: rollouts train on different numbers of tokens."""

    channels: tuple[str, ...] = ()

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        value = tuple(float(" " in text) for text in completions)
        decided = tuple(text.index(" ") + 1 if " " in text else len(text) for text in completions)
        return GroupReward(value, {}, decided)


@pytest.fixture
def whole(tiny_model: Callable[..., Path]) -> Callable[[], Any]:
    """Maker of a bare model, all of which trains."""
    folder = tiny_model("llama", name="whole")

    def make() -> tuple[Any, Any]:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return unfreeze(model), AutoTokenizer.from_pretrained(folder)

    return make


def total(record: StepRecord) -> float:
    return next(c.reward for c in record.channels if c.channel == "total")


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def equal(first: StepRecord, second: StepRecord) -> bool:
    for name in first.tokens:
        np.testing.assert_array_equal(first.tokens[name], second.tokens[name])
    return vars(replace(first, tokens={}, seconds=0)) == vars(replace(second, tokens={}, seconds=0))


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_every_method_trains_and_its_records_tell_how(name: str, tiny: Any, rewards: Any) -> None:
    policy = tiny(lora_targets=("q_proj", "lm_head"))
    before = weights(policy.model)
    settings = loop_config(inner_epochs=2, steps=3)
    records = list(
        train(
            policy.model, policy.tokenizer, PROMPTS, rewards["space"], settings,
            objective=OBJECTIVES.make(name),
        )
    )  # fmt: skip
    assert len(records) == 6
    assert any(not torch.equal(before[key], value) for key, value in weights(policy.model).items())
    for record in records:
        assert np.isfinite(record.loss)
        tokens = record.tokens
        assert (tokens["weight"][~tokens["keep"]] == 0).all()
        np.testing.assert_allclose(
            tokens["ratio"], np.exp(tokens["trainer_logp"] - tokens["sampler_logp"]), rtol=1e-4
        )


def test_rollouts_are_as_stale_as_asked(tiny: Any, rewards: Any) -> None:
    gaps: dict[int, list[float]] = {}
    for lag in (0, 2):
        policy = tiny(lora_targets=("q_proj", "lm_head"))
        settings = loop_config(
            steps=5, staleness=lag, learning_rate=0.05, final_learning_rate=1.0, kl_weight=0.0
        )
        gaps[lag] = [
            float(np.abs(np.log(record.tokens["ratio"])).max())
            for record in train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], settings)
        ]
    assert max(gaps[0]) < 1e-4, "fresh rollouts: sampler and policy are one"
    assert gaps[2][0] < 1e-4, "the first batch is sampled by the policy it trains"
    assert min(gaps[2][1:]) > 1e-3
    assert gaps[2][3] > gaps[2][1], "until the lag is reached it grows"


def test_the_lag_counts_updates() -> None:
    assert loop_config().lag == 0
    assert loop_config(inner_epochs=4).lag == 3
    assert loop_config(staleness=8).lag == 8
    assert loop_config(staleness=2, inner_epochs=3).lag == 8


CASES: dict[str, dict[str, Any]] = {
    "stale": {"staleness": 2, "inner_epochs": 2},
    "whole model": {"tune": "full"},
    "value head": {},
    "stale whole model with a value head": {"staleness": 1, "tune": "full"},
}


@pytest.mark.parametrize("done", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_resumed_equals_straight_to_the_bit(
    case: str, done: int, tiny: Any, whole: Any, rewards: Any, tmp_path: Path
) -> None:
    settings = loop_config(**CASES[case])
    method = OBJECTIVES.make("ppo" if "value head" in case else "dppo_tv")

    def fresh() -> tuple[Any, Any]:
        if settings.tune == "full":
            return whole()
        policy = tiny(lora_targets=("q_proj", "lm_head"))
        return policy.model, policy.tokenizer

    def start(model: Any, tokenizer: Any, folder: Path | None) -> Any:
        return train(
            model, tokenizer, PROMPTS, rewards["space"], settings, objective=method, checkpoint=folder
        )

    straight = fresh()
    expected = list(start(*straight, None))
    list(islice(start(*fresh(), tmp_path / "run"), done))
    resumed = fresh()
    found = list(start(*resumed, tmp_path / "run"))
    assert all(equal(a, b) for a, b in zip(expected, found, strict=True))
    other = weights(resumed[0])
    assert all(torch.equal(value, other[name]) for name, value in weights(straight[0]).items())


def test_a_checkpoint_of_another_method_is_refused(tiny: Any, rewards: Any, tmp_path: Path) -> None:
    for name, outcome in (("spo", None), ("gspo", "with other method")):
        policy = tiny(lora_targets=("q_proj", "lm_head"))
        steps = train(
            policy.model, policy.tokenizer, PROMPTS, rewards["space"], loop_config(steps=1),
            objective=OBJECTIVES.make(name), checkpoint=tmp_path / "run",
        )  # fmt: skip
        if outcome is None:
            list(steps)
            continue
        with pytest.raises(TrainingError, match=outcome):
            list(steps)


def test_a_whole_model_learns_and_its_drift_is_measured_from_its_start(whole: Any, rewards: Any) -> None:
    model, tokenizer = whole()
    settings = loop_config(
        tune="full", steps=30, prompts_per_step=4, group_size=16, new_tokens=1, kl_weight=0.0,
        learning_rate=3e-3, final_learning_rate=1.0,
    )  # fmt: skip
    records = list(train(model, tokenizer, PROMPTS, rewards["space"], settings))
    assert records[0].exact_kl == pytest.approx(0, abs=1e-6)
    assert records[-1].exact_kl > 0.01
    assert np.mean([total(r) for r in records[-2:]]) > total(records[0]) + 0.3


def test_the_reference_of_a_whole_model_equals_a_second_copy(whole: Any) -> None:
    from training.reference import make_reference

    model, _ = whole()
    copy, _ = whole()
    texts = torch.randint(5, 60, (5, 7), generator=torch.Generator().manual_seed(0))
    reference = make_reference(model, texts, rows=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        p = torch.log_softmax(copy(texts[[4, 1]]).logits[:, :-1], -1)
        q = torch.log_softmax(model(texts[[4, 1]]).logits[:, :-1], -1)
        found = reference.kl(model, torch.tensor([4, 1]))
    expected = (p.exp() * (p - q)).sum(-1).mean()
    torch.testing.assert_close(found, expected)
    assert found > 1e-3


def test_a_reward_may_know_the_prompt(tiny: Any) -> None:
    policy = tiny(lora_targets=("q_proj", "v_proj", "up_proj", "down_proj", "lm_head"))
    settings = loop_config(
        steps=40, prompts_per_step=5, group_size=24, new_tokens=1, kl_weight=0.0, learning_rate=0.03,
        final_learning_rate=1.0,
    )  # fmt: skip
    records = list(train(policy.model, policy.tokenizer, PROMPTS, AnswerOf(), settings))
    assert np.mean([total(r) for r in records[-3:]]) > 0.7, "one answer for all prompts would earn at most .6"


def test_the_canary_stops_a_run_whose_sampler_is_not_its_trainer(tiny: Any, rewards: Any) -> None:
    policy = tiny(lora_targets=("q_proj", "lm_head"))
    noise = torch.Generator().manual_seed(0)
    policy.model.get_base_model().get_output_embeddings().register_forward_hook(
        lambda _module, _inputs, output: output + torch.randn(output.shape, generator=noise)
    )
    before = weights(policy.model)
    with pytest.raises(TrainingError, match="sampler and trainer differ") as caught:
        next(train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], loop_config()))
    assert caught.value.where == "canary"
    assert all(torch.equal(before[name], value) for name, value in weights(policy.model).items())
    settings = loop_config(canary=1e6)
    assert next(train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], settings)).step == 0


def test_the_advantage_may_be_chosen(tiny: Any, rewards: Any) -> None:
    seen = {}
    for name in ("group", "group_mean"):
        policy = tiny(lora_targets=("q_proj", "lm_head"))
        steps = train(
            policy.model, policy.tokenizer, PROMPTS, rewards["space"], loop_config(),
            advantage=ADVANTAGES.make(name),
        )  # fmt: skip
        seen[name] = np.abs(next(steps).tokens["advantage"]).max()
    assert seen["group_mean"] <= 1 < seen["group"]


def test_aggregation_is_the_cards_unless_chosen(tiny: Any) -> None:
    losses = {}
    for how in ("card", "constant", "token_mean", "sequence_mean"):
        policy = tiny(lora_targets=("q_proj", "lm_head"))
        settings = loop_config(aggregation=how, inner_epochs=2, kl_weight=0.0, learning_rate=0.05)
        steps = train(
            policy.model, policy.tokenizer, PROMPTS, SpaceSomewhere(), settings,
            objective=OBJECTIVES.make("dr_grpo"), advantage=ADVANTAGES.make("group"),
        )  # fmt: skip
        losses[how] = [record.gradient_norm for record in islice(steps, 2)]
    assert losses["card"] == losses["constant"]
    assert len({tuple(norms) for norms in losses.values()}) == 3
