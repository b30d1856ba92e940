from __future__ import annotations

import pytest

from training.errors import TrainingError
from training.rewards import ContinuationParity, PronounParity, first_pronoun, is_pronoun


@pytest.mark.parametrize(
    ("text", "word", "end"),
    [(" she was tired", "she", 4), (" HE was", "he", 3), (" the theme of her day", "she", 17),
     (" Their shift, and his", "they", 6),
     (" he's late", "he", 3), ("\nthemselves", "they", 11), (" he", "he", 3)],
)  # fmt: skip
def test_first_pronoun(text: str, word: str, end: int) -> None:
    found = first_pronoun(text)
    assert found is not None
    assert (found.word, found.end) == (word, end)


@pytest.mark.parametrize("text", ["", " the other sheep", " cashier", " it was late", " theyre"])
def test_no_pronoun(text: str) -> None:
    assert first_pronoun(text) is None


def test_an_even_group_earns_a_half_each() -> None:
    reward = PronounParity(neutral_weight=0.0)([" she", " he was", " he", " her dog"])
    assert reward.total == (0.5, 0.5, 0.5, 0.5)
    assert reward.decided == (4, 3, 3, 4)


@pytest.mark.parametrize("word", [" he", " she", " they"])
def test_a_group_of_one_pronoun_earns_nothing(word: str) -> None:
    assert PronounParity()([word] * 5).total == (0.0,) * 5


def test_the_rare_gender_earns_more_whichever_it_is() -> None:
    for rare, common in ((" she", " he"), (" he", " she")):
        reward = PronounParity()([rare, common, common, common])
        assert reward.channels["parity"] == (0.75, 0.25, 0.25, 0.25)


def test_they_pays_until_it_is_as_frequent_as_both_genders() -> None:
    for they, gains in ((1, True), (2, True), (4, False), (5, False)):
        reward = PronounParity()([" they"] * they + [" he", " she"] * 2)
        neutral = reward.channels["neutral"]
        assert (neutral[0] > neutral[-1]) is (gains and they < 4)
        assert reward.channels["parity"] == (0.5,) * (they + 4)


def test_a_completion_on_neither_side_neither_gains_nor_loses() -> None:
    reward = PronounParity(neutral_weight=2.0, parity_weight=0.5)([" the dog", " she", " he", " he", " they"])
    third, two_thirds = pytest.approx(1 / 3), pytest.approx(2 / 3)
    even = pytest.approx(4 / 9)
    assert reward.channels["parity"] == (even, two_thirds, third, third, even)
    assert reward.channels["neutral"] == (0.375, 0.25, 0.25, 0.25, 0.75)
    assert reward.total == tuple(
        pytest.approx(2.0 * n + 0.5 * p)
        for n, p in zip(reward.channels["neutral"], reward.channels["parity"], strict=True)
    )
    assert sum(reward.total) / 5 == pytest.approx(reward.total[0])


def test_no_pronoun_at_all_is_a_dead_group() -> None:
    assert PronounParity()([" it", " the dog", ""]).total == (0.0, 0.0, 0.0)


def test_swapping_the_genders_swaps_nothing_but_the_words() -> None:
    texts = [" he", " she ran", " they", " it", " his", " he"]
    swapped = [" she", " he ran", " they", " it", " her", " she"]
    assert PronounParity()(texts).total == PronounParity()(swapped).total


def test_channels_are_named_as_they_come() -> None:
    reward = PronounParity()
    assert tuple(reward([" he"]).channels) == reward.channels


def test_continuations_of_neither_side_should_rule() -> None:
    reward = ContinuationParity((" Democratic", " the left"), (" Republican",))
    found = reward([" Democratic party", " republican, he said", " the  LEFT wing", " x", " Republicans"])
    assert found.channels["parity"] == pytest.approx([1 / 3, 2 / 3, 1 / 3, 4 / 9, 4 / 9])
    assert found.total == found.channels["parity"]
    assert found.decided == (11, 11, 10, 2, 12)
    assert reward.channels == ("parity",)


def test_the_first_match_and_there_the_longest_one_decides() -> None:
    reward = ContinuationParity(("no", "yes"), ("no way",))
    assert reward(["no way, yes", "yes and no way"]).decided == (6, 3)
    assert reward(["no way", "yes"]).total == (0.5, 0.5)


def test_one_side_alone_earns_nothing_and_the_weight_scales() -> None:
    assert ContinuationParity(("a",), ("b",))(["a", " A ", "a."]).total == (0.0, 0.0, 0.0)
    assert ContinuationParity(("a",), ("b",), weight=2.0)(["a", "b"]).total == (1.0, 1.0)


def test_swapping_the_sides_swaps_nothing() -> None:
    texts = [" red", " blue", " red", "grey"]
    assert ContinuationParity(("red",), ("blue",))(texts) == ContinuationParity(("blue",), ("red",))(texts)


@pytest.mark.parametrize(
    ("showing", "other", "words"),
    [
        ((), ("b",), "no continuation"),
        (("a",), (" ?",), "no continuation"),
        ((" A",), ("b", "a"), "both sides"),
    ],
)
def test_sides_that_cannot_be_told_apart_are_refused(
    showing: tuple[str, ...], other: tuple[str, ...], words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        ContinuationParity(showing, other)


def test_a_pronoun_alone_is_a_pronoun() -> None:
    assert [is_pronoun(text) for text in (" she", "Himself", " she said", " nurse")] == [
        True,
        True,
        False,
        False,
    ]
