from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from audit.evidence.schema.tables import TOKENS, TRAIN_STEPS
from training.errors import TrainingError
from training.loop import train
from training.records import StepRecord
from training.types import Prompt

PROMPTS = tuple(
    Prompt(str(i), f"the {word}") for i, word in enumerate(["nurse", "doctor", "engineer", "vote", "tax"])
)

LEARNS: dict[str, Any] = {
    "prompts_per_step": 4,
    "group_size": 16,
    "new_tokens": 1,
    "learning_rate": 0.03,
    "final_learning_rate": 1.0,
}


def adapter(policy: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in policy.model.named_parameters() if p.requires_grad}


def same(first: StepRecord, second: StepRecord) -> bool:
    for name in first.tokens:
        np.testing.assert_array_equal(first.tokens[name], second.tokens[name])
    first, second = replace(first, tokens={}, seconds=0), replace(second, tokens={}, seconds=0)
    return vars(first) == vars(second)


def total(record: StepRecord) -> float:
    return next(c.reward for c in record.channels if c.channel == "total")


def test_a_rewarded_token_is_learnt(tiny: Any, config: Any, rewards: Any) -> None:
    policy = tiny(lora_targets=("lm_head",))
    settings = config(steps=16, **LEARNS)
    curve = [total(r) for r in train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], settings)]
    assert curve[0] < 0.5
    assert np.mean(curve[-2:]) > 0.85


def test_the_kl_penalty_holds_the_policy_back(tiny: Any, config: Any, rewards: Any) -> None:
    drift = {}
    for weight in (0.0, 30.0):
        policy = tiny(lora_targets=("lm_head",))
        settings = config(steps=12, kl_weight=weight, kl_sequences=8, kl_batch=8, **LEARNS)
        steps = train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], settings)
        drift[weight] = [record.exact_kl for record in steps]
    assert drift[0.0][0] == pytest.approx(0, abs=1e-6)
    assert drift[0.0][-1] > 0.05
    assert drift[30.0][-1] < 0.3 * drift[0.0][-1]


def test_rows_fit_the_tables_of_the_run_folder(tiny: Any, config: Any, rewards: Any) -> None:
    policy = tiny()
    records = list(train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], config(steps=2)))
    steps = TRAIN_STEPS.to_arrow(pd.DataFrame([row for r in records for row in r.step_rows()]))
    tokens = TOKENS.to_arrow(pd.concat([pd.DataFrame(r.tokens) for r in records]))
    assert steps["step"].to_pylist() == [0, 0, 1, 1]
    assert steps["channel"].to_pylist() == ["total", "space"] * 2
    assert tokens.num_rows > 0
    frame = tokens.to_pandas()
    # The reward is decided by the first character: later tokens count only after one that has no text.
    later = frame[frame.position > 0]
    assert len(later) < len(frame) / 4
    for row in later.itertuples():
        before = frame[(frame.step == row.step) & (frame.rollout == row.rollout) & (frame.position == 0)]
        assert before.token.item() in policy.tokenizer.all_special_ids
    assert (frame.groupby("step").rollout.nunique() == frame.groupby("step").rollout.max() + 1).all()
    assert (frame.group == frame.rollout // 6).all()


def test_at_zero_learning_rate_sampler_and_trainer_agree(tiny: Any, config: Any, rewards: Any) -> None:
    policy = tiny(trained=True)
    before = adapter(policy)
    settings = config(steps=2, inner_epochs=2, learning_rate=0.0, temperature=0.8)
    records = list(train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], settings))
    assert len(records) == 4
    for record in records:
        np.testing.assert_allclose(record.tokens["ratio"], 1, atol=1e-4)
        assert record.diagnostics["clipped"] == 0
    assert all(torch.equal(before[name], value) for name, value in adapter(policy).items())


def test_later_epochs_leave_the_sampler_and_are_clipped(tiny: Any, config: Any, rewards: Any) -> None:
    policy = tiny()
    settings = config(steps=1, inner_epochs=5, learning_rate=0.05, final_learning_rate=1.0, clip=0.1)
    records = list(train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], settings))
    assert records[0].diagnostics["clipped"] == 0
    last = records[-1]
    assert last.diagnostics["clipped"] > 0
    np.testing.assert_allclose(
        last.tokens["ratio"], np.exp(last.tokens["trainer_logp"] - last.tokens["sampler_logp"]), rtol=1e-5
    )
    assert (last.tokens["weight"][~last.tokens["keep"]] == 0).all()
    assert not last.tokens["keep"].all()


@pytest.mark.parametrize("done", [1, 2, 3, 5, 6])
def test_resumed_equals_straight_to_the_bit(
    tiny: Any, config: Any, rewards: Any, tmp_path: Path, done: int
) -> None:
    settings = config(steps=3, inner_epochs=2, save_every=1)

    def start(policy: Any, folder: Path | None) -> Any:
        return train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], settings, checkpoint=folder)

    straight = tiny()
    expected = list(start(straight, None))
    list(islice(start(tiny(), tmp_path / "run"), done))
    resumed = tiny(trained=True)
    found = list(start(resumed, tmp_path / "run"))
    assert [r.step for r in found] == list(range(6))
    assert all(same(a, b) for a, b in zip(expected, found, strict=True))
    weights = adapter(resumed)
    assert all(torch.equal(value, weights[name]) for name, value in adapter(straight).items())


def test_without_reward_variance_it_says_so(tiny: Any, config: Any, rewards: Any) -> None:
    policy = tiny()
    steps = train(
        policy.model, policy.tokenizer, PROMPTS, rewards["constant"], config(steps=9, give_up_after=2)
    )
    before = adapter(policy)
    first = next(steps)
    assert (first.dead_groups, first.live_groups, first.tokens) == (1, 0, {})
    with pytest.raises(TrainingError, match=r"in 2 batches no group had reward variance \(mean reward 0.3\)"):
        next(steps)
    assert all(torch.equal(before[name], value) for name, value in adapter(policy).items())


def test_a_short_run_without_variance_says_so_too(tiny: Any, config: Any, rewards: Any) -> None:
    policy = tiny()
    with pytest.raises(TrainingError, match="in 1 batches"):
        list(train(policy.model, policy.tokenizer, PROMPTS, rewards["constant"], config(steps=1)))


def test_no_prompts(tiny: Any, config: Any, rewards: Any) -> None:
    policy = tiny()
    with pytest.raises(TrainingError, match="no prompts"):
        next(train(policy.model, policy.tokenizer, [], rewards["space"], config()))


def test_a_prompt_that_leaves_no_room(tiny: Any, config: Any, rewards: Any) -> None:
    policy = tiny()
    prompts = [*PROMPTS, Prompt("endless", "the " * 253)]
    with pytest.raises(TrainingError) as caught:
        next(train(policy.model, policy.tokenizer, prompts, rewards["space"], config(new_tokens=4)))
    assert caught.value.where == "prompt 'endless'"


def test_a_loss_that_is_no_number_stops_the_run(
    tiny: Any, config: Any, rewards: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tiny()
    before = adapter(policy)
    monkeypatch.setattr(
        "training.reference.exact_kl", lambda model, texts: texts.sum() * torch.tensor(float("nan"))
    )
    with pytest.raises(TrainingError, match="no longer finite") as caught:
        next(train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], config(kl_weight=0.0)))
    assert caught.value.where == "step 0"
    assert all(torch.equal(before[name], value) for name, value in adapter(policy).items())


def test_the_run_leaves_the_base_as_it_was(tiny: Callable[..., Any], config: Any, rewards: Any) -> None:
    policy = tiny()
    ids = torch.arange(5, 15)[None]

    def base_logits() -> torch.Tensor:
        with policy.model.disable_adapter(), torch.no_grad():
            return policy.model(input_ids=ids).logits

    before = base_logits()
    list(train(policy.model, policy.tokenizer, PROMPTS, rewards["space"], config(steps=2)))
    assert torch.equal(before, base_logits())
