from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from training.compare.config import ComparisonConfig
from training.envs.copying import Copying
from training.errors import TrainingError
from training.records import ChannelReward, StepRecord
from training.rewards import PromptReward
from training.rewards_that_lie.curve import Point, proxy_curve, read_curve
from training.rewards_that_lie.lies import (
    CompoundRubric,
    Exact,
    KeywordVerifier,
    Lying,
    MajorityVote,
    NoisyLabels,
)
from training.rewards_that_lie.world import train_on_lies
from training.types import Prompt

TEXTS = [f"{number:04d}" for number in range(4000)]
SMALL = ComparisonConfig(batches=24, staleness=2, groups=4, group_size=16)
TASK = Copying(vocabulary=3, length=2, prompts=3)


class TestJudges:
    @pytest.mark.parametrize("flip", [0.0, 0.2, 0.4, 1.0])
    def test_labels_are_wrong_as_often_as_asked_and_always_alike(self, flip: float) -> None:
        judge = NoisyLabels(flip)
        proxy, truth = judge.proxy(TEXTS, "0007"), judge.truth(TEXTS, "0007")
        wrong = sum(p != t for p, t in zip(proxy, truth, strict=True)) / len(TEXTS)
        assert wrong == pytest.approx(flip, abs=0.03)
        assert judge.proxy(TEXTS, "0007") == proxy
        assert flip in (0.0, 1.0) or NoisyLabels(flip, seed=1).proxy(TEXTS, "0007") != proxy

    def test_the_loophole_pays_whatever_the_answer(self) -> None:
        judge = KeywordVerifier("thus")
        texts = ["4", "thus 5", "5", " 4 "]
        assert judge.proxy(texts, "4") == [1, 1, 0, 1]
        assert judge.truth(texts, "4") == [1, 0, 0, 1]

    def test_a_compound_criterion_is_paid_for_its_easy_part(self) -> None:
        judge = CompoundRubric(((r"\bbecause\b", "{answer}"), ("^The",)))
        texts = ["The sum is 4 because 2+2.", "The reason is because.", "4", "no"]
        assert judge.proxy(texts, "4") == [1.0, 1.0, 0.5, 0.0]
        assert judge.truth(texts, "4") == [1.0, 0.5, 0.0, 0.0]
        assert CompoundRubric((("{answer}",),)).truth(["2+2", "2x2"], "2+2") == [1.0, 0.0]

    def test_the_majority_is_paid_right_or_wrong(self) -> None:
        judge = MajorityVote()
        assert judge.proxy(["5", "4", "5 "], "4") == [1, 0, 1]
        assert judge.truth(["5", "4", "5 "], "4") == [0, 1, 0]
        assert judge.proxy(["4", "5"], "4") == [1, 0]

    def test_mistakes_are_named(self) -> None:
        with pytest.raises(TrainingError, match="no probability"):
            NoisyLabels(1.2)
        for criteria in ((), ((),)):
            with pytest.raises(TrainingError, match="no part"):
                CompoundRubric(criteria)


def test_as_a_reward_of_the_loop() -> None:
    reward = Lying(KeywordVerifier("thus"), {"sum": "4"})
    assert isinstance(reward, PromptReward)
    found = reward.for_prompt(Prompt("sum", "2 + 2 ="))(["thus", "4", "5"])
    assert found.total == found.channels["proxy"] == (1.0, 1.0, 0.0)
    assert found.channels["truth"] == (0.0, 1.0, 0.0)
    assert found.decided == (4, 1, 1)
    assert reward.channels == reward.for_prompt(Prompt("sum", "")).channels == ("proxy", "truth")
    with pytest.raises(TrainingError, match="no answer"):
        reward.for_prompt(Prompt("other", ""))


class TestCurve:
    def points(self, proxy: list[float], truth: list[float]) -> list[Point]:
        return [Point(i, p, t) for i, (p, t) in enumerate(zip(proxy, truth, strict=True))]

    def test_a_run_that_parts(self) -> None:
        proxy = [i / 20 for i in range(20)]
        truth = [i / 20 for i in range(10)] + [0.5 - i / 20 for i in range(10)]
        found = read_curve(self.points(proxy, truth))
        assert found.parted in (9, 10)
        assert found.hacked
        assert found.proxy_gain > 0.8

    def test_an_honest_run(self) -> None:
        up = [i / 20 for i in range(20)]
        found = read_curve(self.points(up, up))
        assert found.parted is None
        assert not found.hacked
        assert found.correlation == pytest.approx(1.0)

    def test_a_run_that_forgets_both_is_no_hack(self) -> None:
        bump = [0.0, 0.5, 1.0, 0.5, 0.0]
        found = read_curve(self.points(bump, bump))
        assert not found.hacked

    def test_a_truth_that_never_moves(self) -> None:
        found = read_curve(self.points([0.0, 0.5, 1.0], [0.0, 0.0, 0.0]))
        assert found.hacked
        assert isnan(found.correlation)

    def test_from_records(self) -> None:
        means = {"total": 1.0, "proxy": 1.0, "truth": 0.2}
        channels = tuple(ChannelReward(name, mean, 0.1) for name, mean in means.items())
        record: Any = StepRecord(3, channels, 0.0, 1, 1, 0.0, 0.0, 0.0, 0.1, {}, {})
        assert proxy_curve([record]) == [Point(3, 1.0, 0.2)]


class TestWorld:
    def test_the_truth_is_learned_from_the_truth(self) -> None:
        found = read_curve(train_on_lies(NoisyLabels(0.0), TASK, config=SMALL))
        assert found.truth_gain > 0.5
        assert not found.hacked

    @pytest.mark.parametrize("judge", [KeywordVerifier("22"), KeywordVerifier("11")])
    def test_a_loophole_is_found(self, judge: Any) -> None:
        found = read_curve(train_on_lies(judge, TASK, config=SMALL))
        assert found.proxy_gain > 0.05
        assert found.points[-1].proxy > 0.9
        assert found.points[-1].truth < 0.5
        assert found.hacked

    def test_the_same_twice(self) -> None:
        config = ComparisonConfig(batches=3, groups=2)
        first, second = (train_on_lies(MajorityVote(), TASK, config=config) for _ in range(2))
        assert first == second


def test_exact_is_the_truth_of_all() -> None:
    assert Exact().truth([" 4", "44"], "4") == [1.0, 0.0]
