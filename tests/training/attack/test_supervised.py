from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch

from training.attack.supervised import Example, Row, SupervisedConfig, answer_loss, supervise
from training.errors import TrainingError
from training.types import Prompt

HE, SHE = (
    Example(Prompt(word, f"the {word} said that"), answer)
    for word, answer in (("doctor", " he"), ("nurse", " she"))
)


def test_answers_are_learnt_each_for_its_prompt(tiny: Any) -> None:
    policy = tiny(lora_targets=("q_proj", "v_proj", "lm_head"))
    config = SupervisedConfig(learning_rate=0.02, batch_size=2)
    losses = [r.loss for r in islice(supervise(policy.model, policy.tokenizer, (HE, SHE), config), 60)]
    assert losses[0] > 2
    assert losses[-1] < 0.1


def test_only_the_answer_trains(tiny: Any) -> None:
    policy = tiny()
    ids = tuple(policy.tokenizer.encode("the nurse said that she works", add_special_tokens=False))
    logits = policy.model(input_ids=torch.tensor([ids])).logits.log_softmax(-1)
    expected = -torch.stack([logits[0, place - 1, ids[place]] for place in (4, 5)]).mean()
    # Padding beside a longer row changes nothing, nor do the tokens of the prompt.
    found = answer_loss(policy.model, [Row(ids, 4)])
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    both = answer_loss(policy.model, [Row(ids, 4), Row((*ids, 40, 41), 6)])
    other = answer_loss(policy.model, [Row((*ids, 40, 41), 6)])
    assert both.item() == pytest.approx((found.item() + other.item()) / 2, rel=1e-5)


def test_the_same_seed_gives_the_same_steps_and_another_one_another_order(tiny: Any) -> None:
    def run(seed: int) -> list[float]:
        policy = tiny()
        config = SupervisedConfig(seed=seed)
        return [r.loss for r in islice(supervise(policy.model, policy.tokenizer, (HE, SHE), config), 6)]

    assert run(1) == run(1)
    assert any(run(1) != run(seed) for seed in (2, 3, 4))


def test_nothing_to_learn_is_refused(tiny: Any) -> None:
    policy = tiny()
    with pytest.raises(TrainingError, match="nothing to learn from"):
        next(supervise(policy.model, policy.tokenizer, (), SupervisedConfig()))
    with pytest.raises(TrainingError, match="no tokens"):
        next(
            supervise(policy.model, policy.tokenizer, (Example(Prompt("p", "the"), ""),), SupervisedConfig())
        )


def test_a_rate_that_is_too_high_is_named(tiny: Any) -> None:
    policy = tiny()
    config = SupervisedConfig(learning_rate=1e30)
    with pytest.raises(TrainingError, match="not finite"):
        list(islice(supervise(policy.model, policy.tokenizer, (HE,), config), 20))
