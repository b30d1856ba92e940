from __future__ import annotations

from typing import Any

import pytest

from training.config import LoopConfig, PreferenceConfig
from training.errors import TrainingError
from training.loop import train
from training.memory import memory_for
from training.preferences import PreferencePair
from training.types import Prompt

PROMPTS = (Prompt("a", "the nurse"), Prompt("b", "the vote"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_the_settings_to_lower_are_named_with_their_values(error: Exception) -> None:
    with (
        pytest.raises(TrainingError) as caught,
        memory_for("it", LoopConfig(), "groups_per_pass", "new_tokens"),
    ):
        raise error
    assert caught.value.problem == "there is not enough memory for it"
    assert caught.value.fix == "lower groups_per_pass (now 6)", "one token cannot be lowered"
    assert "\n" not in (caught.value.where or "")


def test_what_cannot_be_lowered_needs_a_larger_machine() -> None:
    with pytest.raises(TrainingError, match="larger machine"), memory_for("it", LoopConfig(), "new_tokens"):
        raise MemoryError


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_for("it", LoopConfig(), "new_tokens"):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("training.collect.sample", ("groups_per_pass", "group_size", "new_tokens")),
        ("training.step.score", ("groups_per_pass", "group_size", "kl_batch")),
        ("torch.optim.AdamW.step", ("lora_rank",)),
    ],
)
def test_the_loop_says_what_to_lower(
    where: str, names: tuple[str, ...], tiny: Any, config: Any, rewards: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA out of memory")

    policy = tiny()
    monkeypatch.setattr(where, full)
    with pytest.raises(TrainingError, match="not enough memory") as caught:
        list(train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], config()))
    for name in names:
        assert name in caught.value.fix


def test_loops_over_pairs_say_it_too(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.dpo import train_dpo

    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    policy = tiny()
    pairs = [PreferencePair(PROMPTS[0], " she", " he")]
    steps = train_dpo(policy.model, policy.tokenizer, pairs, PreferenceConfig(steps=3))
    next(steps)
    monkeypatch.setattr("training.dpo.pair_logp", full)
    with pytest.raises(TrainingError) as caught:
        next(steps)
    assert "batch_size" in caught.value.fix
