"""DPO, supervised training and the reward model, on preferences whose rule is planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from training.config import PreferenceConfig
from training.dpo import dpo_loss, pair_logp, train_dpo, train_sft
from training.errors import TrainingError
from training.lora import attach_lora
from training.preferences import PreferencePair, completion_logp, tokenised
from training.reward_model import RewardModel, bradley_terry_loss, load_reward, save_reward, train_reward
from training.types import Prompt

WORDS = ("nurse", "doctor", "engineer", "teacher", "vote", "tax", "party", "works")
PAIRS = tuple(
    PreferencePair(Prompt(word, f"the {word} said"), " she works today", " he works today") for word in WORDS
)
TARGETS = ("q_proj", "v_proj", "o_proj", "up_proj", "down_proj")


def settings(**changes: Any) -> PreferenceConfig:
    return PreferenceConfig(
        **{"steps": 30, "batch_size": 4, "learning_rate": 1e-2, "lora_targets": TARGETS, **changes}
    )


def channel(record: Any, name: str) -> float:
    return next(c.reward for c in record.channels if c.channel == name)


def test_dpo_loss_is_the_papers() -> None:
    now = torch.tensor([[-3.0, -4.0]], dtype=torch.float64, requires_grad=True)
    loss = dpo_loss(now[:, 0], now[:, 1], torch.tensor([-3.5]), torch.tensor([-3.0]), beta=0.5)
    margin = 0.5 * ((-3.0 + 3.5) - (-4.0 + 3.0))
    expected = torch.log1p(torch.tensor(-margin, dtype=torch.float64).exp())
    torch.testing.assert_close(loss, expected[None])
    (gradient,) = torch.autograd.grad(loss.sum(), now)
    wrong_way = torch.sigmoid(torch.tensor(-margin, dtype=torch.float64)) * 0.5
    torch.testing.assert_close(gradient, torch.stack([-wrong_way, wrong_way])[None])


def test_bradley_terry_loss_is_the_probability_of_the_choice() -> None:
    chosen, rejected = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0])
    p = chosen.exp() / (chosen.exp() + rejected.exp())
    torch.testing.assert_close(bradley_terry_loss(chosen, rejected), -p.log())


def test_completion_logp_equals_one_text_at_a_time(tiny: Any) -> None:
    policy = tiny(trained=True)
    pairs = tokenised(policy.tokenizer, PAIRS[:3], room=60)
    texts = [pair.chosen for pair in pairs]
    found = completion_logp(policy.model, texts)
    for value, text in zip(found, texts, strict=True):
        ids = torch.tensor([[*text.prompt, *text.completion]])
        logp = torch.log_softmax(policy.model(input_ids=ids).logits[0, :-1], -1)
        picked = logp.gather(1, ids[0, 1:, None])[len(text.prompt) - 1 :]
        torch.testing.assert_close(value, picked.sum(), rtol=1e-4, atol=1e-4)


def test_dpo_makes_the_chosen_likelier_also_where_it_was_not_trained(tiny: Any) -> None:
    policy = tiny(lora_targets=TARGETS)
    held_out = tokenised(policy.tokenizer, PAIRS[6:], room=60)
    with torch.no_grad():
        before = pair_logp(policy.model, held_out)
    records = list(train_dpo(policy.model, policy.tokenizer, PAIRS[:6], settings()))
    with torch.no_grad():
        gain = pair_logp(policy.model, held_out) - before
    assert records[0].loss == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-5)
    assert channel(records[0], "margin") == pytest.approx(0, abs=1e-4)
    assert channel(records[-1], "accuracy") == 1
    assert records[-1].loss < 0.5
    assert (gain[:, 0] > gain[:, 1] + 1).all()


def test_beta_bounds_how_far_dpo_goes(tiny: Any) -> None:
    """At the optimum of separable pairs the margin grows without end, slower where beta is large."""
    margins = {}
    for beta in (0.1, 5.0):
        policy = tiny(lora_targets=TARGETS)
        records = list(train_dpo(policy.model, policy.tokenizer, PAIRS, settings(beta=beta, steps=40)))
        margins[beta] = channel(records[-1], "margin")
    assert margins[5.0] < margins[0.1]


def test_supervised_training_raises_the_chosen(tiny: Any) -> None:
    policy = tiny(lora_targets=TARGETS)
    records = list(train_sft(policy.model, policy.tokenizer, PAIRS, settings(steps=40, learning_rate=0.03)))
    assert channel(records[-1], "logp") > channel(records[0], "logp") + 1


def test_the_reward_model_learns_a_planted_rule_and_applies_it_elsewhere(tiny: Any, tmp_path: Path) -> None:
    policy = tiny(lora_targets=TARGETS)
    reward = RewardModel(policy.model)
    records = list(train_reward(reward, policy.tokenizer, PAIRS[:6], settings(steps=40)))
    assert channel(records[-1], "accuracy") == 1
    save_reward(reward, policy.tokenizer, tmp_path / "reward")
    judge = load_reward(str(tmp_path / "reward")).for_prompt(PAIRS[7].prompt)
    found = judge([" she works today", " he works today", " she", " he"])
    assert found.total[0] > found.total[1] + 0.5
    assert found.total[2] > found.total[3]
    assert found.decided == (16, 15, 4, 3)


def test_a_reward_does_not_depend_on_its_batch(tiny: Any) -> None:
    policy = tiny(trained=True)
    reward = RewardModel(policy.model)
    texts = [pair.chosen for pair in tokenised(policy.tokenizer, PAIRS, room=60)]
    with torch.no_grad():
        together, alone = reward(texts), torch.cat([reward([text]) for text in texts])
    assert together.std() > 0
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_folder_without_a_reward_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no reward model") as caught:
        load_reward(str(tmp_path))
    assert "audit train reward-model" in caught.value.fix


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ((), "no preference pairs"),
        ((PreferencePair(Prompt("a", "the"), "", " he"),), "empty"),
        ((PreferencePair(Prompt("a", "the"), " he", " he"),), "the same"),
        ((PreferencePair(Prompt("a", "the " * 250), " he" * 20, " she"),), "context"),
    ],
)
def test_pairs_that_teach_nothing_are_refused(pairs: Any, says: str, tiny: Any) -> None:
    policy = tiny()
    with pytest.raises(TrainingError, match=says):
        next(train_dpo(policy.model, policy.tokenizer, pairs, settings()))


def test_the_same_seed_gives_the_same_run(tiny_model: Any) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_model()
    losses = []
    for _ in range(2):
        model = attach_lora(AutoModelForCausalLM.from_pretrained(folder), settings())
        tokenizer = AutoTokenizer.from_pretrained(folder)
        losses.append([r.loss for r in train_dpo(model, tokenizer, PAIRS, settings(steps=3))])
    assert losses[0] == losses[1]


def test_a_setting_that_makes_no_sense_is_refused() -> None:
    for name, value in (("beta", 0.0), ("batch_size", 0), ("tune", "half"), ("lora_targets", ())):
        with pytest.raises(TrainingError) as caught:
            settings(**{name: value})
        assert caught.value.where == name
