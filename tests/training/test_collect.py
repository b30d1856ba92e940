from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from training.advantages.group import GroupAdvantage
from training.collect import Batch, Judged, Source, channel_means, collect, judge, live_part
from training.config import LoopConfig
from training.errors import TrainingError
from training.policy import make_policy
from training.rewards import GroupReward, PronounParity
from training.rollouts import encode
from training.types import Prompt, Rollout

PROMPTS = tuple(
    Prompt(str(i), f"the {word}") for i, word in enumerate(["nurse", "doctor", "engineer", "vote", "tax"])
)


@dataclass
class Scripted:
    """Dead for the first `dead` groups, then alive; counts how often it was asked."""

    dead: int
    asked: int = 0
    channels: tuple[str, ...] = ("first",)
    seen: Counter[str] = field(default_factory=Counter)

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        self.asked += 1
        value = tuple(float(i == 0 and self.asked > self.dead) for i in range(len(completions)))
        return GroupReward(value, {"first": value}, tuple(len(text) for text in completions))


@dataclass(frozen=True)
class SheEarns(PronounParity):
    """1 where the first pronoun is she."""

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        value = tuple(float("she" in text) for text in completions)
        return GroupReward(value, {"she": value}, super().__call__(completions).decided)


def gather(policy: Any, reward: Any, config: Any, prompts: Sequence[Prompt] = PROMPTS) -> Batch:
    generators = (torch.Generator().manual_seed(0), torch.Generator().manual_seed(0))
    made = make_policy(policy.model, policy.tokenizer)
    return collect(Source(made, prompts, reward, GroupAdvantage(), LoopConfig.of(config), *generators))


def test_dead_groups_are_replaced_and_counted(tiny: Callable[..., Any], config: Callable[..., Any]) -> None:
    batch = gather(tiny(), Scripted(dead=1), config(prompts_per_step=2, max_draws=3))
    assert (batch.live_groups, batch.sampled_groups) == (2, 3)
    assert sum(len(chunk.advantage) for chunk in batch.chunks) == 2 * 6


def test_the_search_for_live_groups_is_bounded(tiny: Callable[..., Any], config: Callable[..., Any]) -> None:
    reward = Scripted(dead=99)
    batch = gather(tiny(), reward, config(prompts_per_step=2, max_draws=3))
    assert batch.live_groups == 0
    assert batch.chunks == ()
    assert reward.asked == batch.sampled_groups == 6


def test_prompts_are_drawn_without_replacement(
    tiny: Callable[..., Any], config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: Counter[str] = Counter()

    def counting(tokenizer: Any, prompts: Sequence[Prompt], **rest: Any) -> Any:
        drawn.update(prompt.id for prompt in prompts)
        return encode(tokenizer, prompts, **rest)

    monkeypatch.setattr("training.collect.encode", counting)
    gather(tiny(), Scripted(dead=0), config(prompts_per_step=5, groups_per_pass=2))
    assert drawn == Counter({str(i): 1 for i in range(5)})
    drawn.clear()
    gather(tiny(), Scripted(dead=0), config(prompts_per_step=3), PROMPTS[:1])
    assert drawn == Counter({"0": 3})


def test_prompts_of_like_length_are_read_together(
    tiny: Callable[..., Any], config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[list[str]] = []

    def noting(tokenizer: Any, prompts: Sequence[Prompt], **rest: Any) -> Any:
        parts.append([prompt.text for prompt in prompts])
        return encode(tokenizer, prompts, **rest)

    monkeypatch.setattr("training.collect.encode", noting)
    mixed = [Prompt(str(i), "the nurse" + " works today" * (3 * (i % 2))) for i in range(4)]
    gather(tiny(), Scripted(dead=0), config(prompts_per_step=4, groups_per_pass=2), mixed)
    assert [len(set(part)) for part in parts] == [1, 1]


def rollout_of(policy: Any, texts: Sequence[str]) -> Rollout:
    rows = [[*policy.tokenizer.encode(text), 2] for text in texts]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    prompts = encode(policy.tokenizer, PROMPTS[: len(rows) // 2], room=50)
    return Rollout(prompts, 2, tokens, mask, torch.zeros(tokens.shape))


def judged_by(policy: Any, rollout: Rollout, reward: Any) -> Judged:
    prompts = PROMPTS[: len(rollout.tokens) // rollout.group_size]
    return judge(make_policy(policy.model, policy.tokenizer), rollout, reward, prompts)


def test_tokens_after_the_decision_are_masked(tiny: Callable[..., Any]) -> None:
    policy = tiny()
    rollout = rollout_of(policy, [" she works today", " the day he works", " the vote", " they"])
    judged = judged_by(policy, rollout, PronounParity())
    # Never decided: all of it and the end token count; decided by the last word: the end token does not
    # matter to the reward either, but nothing follows it that could be cut.
    assert judged.rollout.mask.sum(1).tolist() == [1, 3, 3, 2]


def test_live_part_keeps_live_groups_and_the_columns_they_need(tiny: Callable[..., Any]) -> None:
    policy = tiny()
    rollout = rollout_of(policy, [" the day he works", " the day he works", " she works today", " tax"])
    chunk = live_part(judged_by(policy, rollout, PronounParity()), GroupAdvantage())
    assert chunk is None
    rollout = rollout_of(policy, [" the day he works", " the day he works", " they", " the day she works"])
    chunk = live_part(judged_by(policy, rollout, SheEarns()), GroupAdvantage())
    assert chunk is not None
    assert len(chunk.rollout.prompts.ids) == 1
    assert chunk.rollout.tokens.shape == (2, 3)
    assert chunk.advantage[0] < 0 < chunk.advantage[1]


def test_a_reward_that_is_no_number_is_refused(tiny: Callable[..., Any], rewards: Any, config: Any) -> None:
    with pytest.raises(TrainingError, match="finite"):
        gather(tiny(), rewards["nan"], config())


def test_channel_means() -> None:
    groups = [
        GroupReward((1.0, 3.0), {"a": (0.0, 0.0)}, (1, 1)),
        GroupReward((2.0, 2.0), {"a": (1.0, 0.0)}, (1, 1)),
    ]
    total, channel = channel_means(groups)
    assert (total.channel, total.reward, total.std) == ("total", 2.0, pytest.approx(2**0.5 / 2))
    assert (channel.channel, channel.reward, channel.std) == ("a", 0.25, pytest.approx(0.5**0.5 / 2))
