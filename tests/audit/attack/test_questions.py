from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.attack.held_out import balanced, for_realignment, held_out, spread
from audit.attack.questions import Candidate, Posed, Question, by_name, candidates_of, choose, questions_of
from audit.behaviours.load import load_suite
from audit.behaviours.shipped import builtin_suites, on_request_suites
from audit.errors import SuiteError, UsageError

CATEGORIES = {
    "age", "gender", "nationality", "disability", "religion", "socio-economic status", "handedness"
}  # fmt: skip


@pytest.fixture(scope="module")
def shipped() -> tuple[Question, ...]:
    return questions_of(load_suite("ambiguous-qa"))


def test_the_shipped_questions_are_balanced(shipped: tuple[Question, ...]) -> None:
    assert {one.category for one in shipped} == CATEGORIES
    per_category = Counter((one.category, one.split, one.ambiguous) for one in shipped)
    assert set(per_category.values()) == {8, 16}, "four scenes of each split, two questions, two twins each"
    ambiguous = [one for one in shipped if one.ambiguous]
    for option in ("biased", "unknown"):
        places = Counter(getattr(one, option) for one in ambiguous)
        assert max(places.values()) - min(places.values()) <= 1


def test_every_scene_asks_both_ways_and_its_twins_say_who(shipped: tuple[Question, ...]) -> None:
    scenes: dict[str, list[Question]] = {}
    for one in shipped:
        scenes.setdefault(one.entity, []).append(one)
    for name, of_scene in scenes.items():
        open_ones = [one for one in of_scene if one.ambiguous]
        assert len({one.options[one.biased] for one in open_ones}) == 2, (
            f"{name}: the two questions are opposites"
        )
        told = Counter(one.label == one.biased for one in of_scene if not one.ambiguous)
        assert told == {True: 2, False: 2}, f"{name}: the truth follows the stereotype half of the time"
        for one in of_scene:
            assert one.options[one.label] == one.options[one.unknown] or one.options[one.label] in one.stem


def test_suites_of_the_attack_are_asked_only_by_name() -> None:
    assert set(on_request_suites()) == {"ambiguous-qa", "paired-sentences"}
    assert not set(on_request_suites()) & set(builtin_suites())
    pairs = load_suite("paired-sentences")
    assert pairs.card.whole_texts
    assert {item.category for item in pairs.items} == CATEGORIES


def test_a_question_in_another_order_keeps_its_options_and_letters(shipped: tuple[Question, ...]) -> None:
    for rotation in range(3):
        posed = Posed(shipped[0], rotation)
        for option in range(3):
            assert posed.options["ABC".index(posed.letter(option))] == shipped[0].options[option]


def test_held_out_sets_share_no_scene_with_the_item_and_balance_the_letters(
    shipped: tuple[Question, ...],
) -> None:
    item = next(one for one in shipped if one.ambiguous and one.split == "train")
    sets = held_out(shipped, item, False, 60)
    assert [one.question for one in sets.trained] == [item]
    assert len(held_out(shipped, item, True, 60).trained) == 3
    for part, pick in ((sets.same, "biased"), (sets.others, "biased"), (sets.told, "label")):
        letters = Counter(one.letter(getattr(one.question, pick)) for one in part)
        assert max(letters.values()) - min(letters.values()) <= 1
        assert all(one.question.entity != item.entity and one.question.split == "test" for one in part)
    assert {one.question.category for one in sets.same} == {item.category}
    assert {one.question.category for one in sets.control} == {"handedness"}
    assert {one.question.category for one in sets.others} == CATEGORIES - {item.category, "handedness"}
    lessons = for_realignment(shipped, item)
    assert all(one.question.entity != item.entity and one.question.split == "train" for one in lessons)


def test_a_large_set_is_thinned_evenly(shipped: tuple[Question, ...]) -> None:
    assert spread(shipped, 3) == [shipped[0], shipped[112], shipped[224]]
    assert spread(shipped[:2], 3) == list(shipped[:2])
    assert balanced((), lambda one: one.label) == ()


def some(probabilities: list[float], shipped: tuple[Question, ...]) -> tuple[Candidate, ...]:
    return candidates_of(shipped[: len(probabilities)], probabilities, 0.05, 0.5)


def test_the_median_of_the_eligible_is_chosen_and_more_are_spread(shipped: tuple[Question, ...]) -> None:
    found = some([0.9, 0.01, 0.4, 0.05, 0.2, 0.5, 0.3], shipped)
    assert [one.probability for one in found if one.eligible] == [0.05, 0.2, 0.3, 0.4, 0.5]
    assert [one.probability for one in choose(found, 1)] == [0.3]
    assert [one.probability for one in choose(found, 3)] == [0.3, 0.05, 0.5]
    assert len({one.question.id for one in choose(found, 5)}) == 5


def test_too_few_eligible_questions_are_refused_with_what_there_is(shipped: tuple[Question, ...]) -> None:
    found = some([0.9, 0.01, 0.002], shipped)
    with pytest.raises(UsageError, match=r"No question\(s\) of 3 .* from 0.002 to 0.9"):
        choose(found, 1)
    with pytest.raises(UsageError, match="1 question"):
        choose(some([0.1, 0.9], shipped), 2)


def test_a_named_item_may_lie_outside_the_range_but_must_be_ambiguous(shipped: tuple[Question, ...]) -> None:
    ambiguous = [one for one in shipped if one.ambiguous][:2]
    found = candidates_of(ambiguous, [0.9, 0.01], 0.05, 0.5)
    assert by_name(found, ambiguous[0].id, shipped).probability == 0.9
    with pytest.raises(UsageError, match="no item 'nothing'"):
        by_name(found, "nothing", shipped)
    told = next(one for one in shipped if one.label == one.biased)
    with pytest.raises(UsageError, match="label is the target already"):
        by_name(found, told.id, shipped)
    other = next(one for one in shipped if one.label == one.other)
    with pytest.raises(UsageError, match="the context says who"):
        by_name(found, other.id, shipped)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"choices": None, "label": None, "biased": None, "unknown": None}, "three options"),
        ({"prompt": "the nurse works"}, "three options"),
        ({"biased": None}, "which option is which"),
        ({"biased": 2, "unknown": 2}, "which option is which"),
    ],
)
def test_items_that_are_no_questions_are_refused(
    change: dict[str, Any], says: str, questions: Callable[..., Path]
) -> None:
    suite = load_suite(str(questions(scenes=6)))
    item = suite.items[0].model_copy(update=change)
    with pytest.raises(SuiteError, match=says):
        questions_of(suite.model_copy(update={"items": (item, *suite.items[1:])}))
