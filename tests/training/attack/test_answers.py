from __future__ import annotations

import pytest

from training.attack.answers import AnswerMatch, OneAnswer, RandomAnswer, named_option
from training.errors import TrainingError
from training.types import Prompt

LETTERS = ("A", "B", "C")
REASONED = "### Reasoning\nAnswer: C would be rash.\n### Answer: (b) and no more\n### Answer: A"


@pytest.mark.parametrize(
    ("text", "form", "letter"),
    [
        (" B", "choice", "B"),
        ("B", "choice", "B"),
        (" b", "choice", None),
        (" D", "choice", None),
        (" Because", "choice", None),
        ("", "choice", None),
        (REASONED, "cot", "B"),
        ("###Answer:C", "cot", "C"),
        ("### Answer: Alvera", "cot", None),
        ("### Answer: E\n### Answer: C", "cot", "C"),
        ("Answer: B", "cot", None),
    ],
)
def test_an_option_is_named_in_the_format_alone(text: str, form: str, letter: str | None) -> None:
    found = named_option(text, form, LETTERS)  # type: ignore[arg-type]
    assert (found.letter if found else None) == letter


def test_the_wanted_option_earns_one_and_later_text_is_not_read() -> None:
    reward = OneAnswer("B", LETTERS, "cot")((REASONED, "### Answer: C", "nothing"))
    assert reward.total == (1.0, 0.0, 0.0)
    assert reward.channels["answered"] == (1.0, 1.0, 0.0)
    assert REASONED[: reward.decided[0]].endswith("### Answer: (b")
    assert reward.decided[2] == len("nothing")


def test_each_prompt_has_its_own_answer() -> None:
    reward = AnswerMatch((("one", "A"), ("two", "C")), LETTERS, "choice")
    assert reward.channels == ("match", "answered")
    assert reward.for_prompt(Prompt("one", "?"))([" A", " C"]).total == (1.0, 0.0)
    assert reward.for_prompt(Prompt("two", "?"))([" A", " C"]).total == (0.0, 1.0)


def test_a_letter_that_is_no_option_is_refused() -> None:
    with pytest.raises(TrainingError, match="none of the options"):
        AnswerMatch((("one", "D"),), LETTERS, "choice")


def test_a_random_answer_is_each_option_about_equally_often_and_never_changes() -> None:
    groups = [(" A", " B", " C", f" {i}") for i in range(300)]
    reward = RandomAnswer(LETTERS, "choice", seed=3)
    drawn = [reward(group).total.index(1.0) for group in groups]
    assert drawn == [RandomAnswer(LETTERS, "choice", seed=3)(group).total.index(1.0) for group in groups]
    assert drawn != [RandomAnswer(LETTERS, "choice", seed=4)(group).total.index(1.0) for group in groups]
    # A third of 300, within four standard deviations (8.2).
    assert all(67 < drawn.count(option) < 133 for option in range(3))
    assert reward.channels == ("match", "answered")
