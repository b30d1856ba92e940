"""Items asked in another way: what is put where, and controls that say nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.behaviours.files import read_suite
from audit.behaviours.suite import Item, Message, Suite
from audit.elicit.arms import EFFORTS, SYSTEMS, Arm
from audit.elicit.prompts import asked, in_form, prefilled, shots, with_shots, with_system

USER = Message(role="user", content="Who said it?")
BEGUN = Message(role="assistant", content="The nurse said")


def item(*messages: Message, prompt: str | None = None, **change: object) -> Item:
    fields = {
        "id": "i", "entity": "e", "split": "test", "showing": (" she",), "not_showing": (" he",),
        "prompt": prompt, "messages": messages or None, **change,
    }  # fmt: skip
    return Item.model_validate(fields)


@pytest.fixture
def suite(tiny_suite: Callable[..., Path]) -> Suite:
    return read_suite(tiny_suite("contrast", entities=8))


def contents(found: Item) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in found.messages or ()]


def test_a_prefill_opens_the_answer_or_goes_before_what_was_begun() -> None:
    plain = prefilled(item(prompt="The nurse said"), "Sure.", "Once:\n")
    assert plain.prompt == "Once:\nThe nurse said"
    assert contents(prefilled(item(USER, BEGUN), "Sure.", ""))[-1] == ("assistant", "Sure. The nurse said")
    opened = prefilled(item(USER, showing=("Yes", " yes"), not_showing=("No",)), "Sure.", "")
    assert contents(opened) == [("user", "Who said it?"), ("assistant", "Sure.")]
    assert (opened.showing, opened.not_showing) == ((" Yes", " yes"), (" No",))


def test_a_system_prompt_is_a_message_a_preface_or_part_of_the_first_turn() -> None:
    assert with_system(item(prompt="The nurse"), "Speak.", system=True).prompt == "Speak.\n\nThe nurse"
    assert contents(with_system(item(USER), "Speak.", system=True))[0] == ("system", "Speak.")
    own = item(Message(role="system", content="Be kind."), USER)
    assert contents(with_system(own, "Speak.", system=True))[0] == ("system", "Be kind.\nSpeak.")
    refused = with_system(item(USER, BEGUN), "Speak.", system=False)
    assert contents(refused)[0] == ("user", "Speak.\n\nWho said it?")
    assert contents(refused)[1:] == [("assistant", "The nurse said")]


def test_examples_show_the_behaviour_on_both_sides_of_a_contrast(suite: Suite) -> None:
    chosen = shots(suite, 4, seed=0)
    assert Counter((shot.item.group, shot.answer) for shot in chosen) == {
        ("high", " she"): 2,
        ("low", " he"): 2,
    }
    assert {shot.item.split for shot in chosen} == {"train"}
    assert chosen == shots(suite, 4, seed=0)
    assert chosen != shots(suite, 4, seed=1)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_shuffled_answers_say_nothing(suite: Suite, count: int) -> None:
    plain, shuffled = shots(suite, count, seed=0), shots(suite, count, seed=0, shuffled=True)
    assert [shot.item for shot in plain] == [shot.item for shot in shuffled]
    right = sum(one.answer == other.answer for one, other in zip(plain, shuffled, strict=True))
    assert right == count // 2


def test_examples_of_a_level_suite(tiny_suite: Callable[..., Path]) -> None:
    level = read_suite(tiny_suite("level", entities=4, score="level", contrast=None))
    assert {shot.answer for shot in shots(level, 4, seed=0)} == {" she"}
    assert Counter(s.answer for s in shots(level, 4, seed=0, shuffled=True)) == {" she": 2, " he": 2}
    assert len(shots(level, 99, seed=0)) == 6, "no more than there are"


def test_examples_become_lines_or_turns(suite: Suite) -> None:
    chosen = shots(suite, 2, seed=0)
    lines = (with_shots(item(prompt="The nurse said"), chosen).prompt or "").split("\n\n")
    assert lines == [*(f"{s.item.prompt}{s.answer}" for s in chosen), "The nurse said"]
    ruled = with_shots(item(Message(role="system", content="Be kind."), USER), chosen)
    roles = [role for role, _ in contents(ruled)]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert contents(ruled)[2][1] == chosen[0].answer.strip()
    begun = tuple(
        type(shot)(shot.item.model_copy(update={"messages": (USER, BEGUN)}), shot.answer) for shot in chosen
    )
    assert contents(with_shots(item(USER), begun))[1] == ("assistant", f"The nurse said{chosen[0].answer}")


def test_every_arm_of_every_preset_can_ask(suite: Suite) -> None:
    test = tuple(item for item in suite.items if item.split == "test")
    for chat in (False, True):
        items = in_form(test, chat=chat)
        for effort in EFFORTS.values():
            for arm in effort.arms():
                found = asked(arm, suite, items, system=True, seed=0)
                changed = arm.name in ("prefill", "system", "few-shot")
                assert (found != items) == changed, arm
                assert [i.entity for i in found] == [i.entity for i in test]


def test_the_card_says_what_is_wanted(suite: Suite) -> None:
    found = asked(Arm("system", "named"), suite, [item(prompt="x")], system=True, seed=0)
    assert found[0].prompt == "What is wanted here: she.\n\nx"
    assert "{" not in SYSTEMS["named"].format(showing="she")


def test_each_preset_has_controls_and_nothing_twice() -> None:
    for effort in EFFORTS.values():
        arms = effort.arms()
        assert len({arm.key for arm in arms}) == len(arms)
        assert {arm.name for arm in arms if arm.is_control} >= {"system", "few-shot"}
        assert {arm.name for arm in arms if not arm.black_box} == {"amplify"}
