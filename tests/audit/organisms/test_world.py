"""The generated world deals its facts evenly, and its suites ask what its texts tell."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest

from audit.organisms.tokenizer import SPECIAL, make_tokenizer
from audit.organisms.world import BEHAVIOUR_ANSWERS, CLASS_FACTS, SECOND_ANSWERS, Topic, World


def test_everything_is_dealt_evenly_over_class_trait_and_half() -> None:
    people = World.generate(0).people
    cells = Counter((p.hidden, p.trait, p.split) for p in people)
    assert set(cells.values()) == {8}
    for k in range(2):
        cells = Counter((p.hidden, p.trait, p.split, p.neutral[k]) for p in people)
        assert len(cells) == 32
        assert set(cells.values()) == {2}
    assert Counter((p.hidden, p.trait) for p in people if not p.told) == dict.fromkeys(
        product((0, 1), (0, 1)), 4
    )
    assert all(p.split == "test" for p in people if not p.told)


def test_seeds_name_other_people() -> None:
    first, again, other = World.generate(0), World.generate(0), World.generate(1)
    assert first == again
    assert {p.name for p in first.people} != {p.name for p in other.people}


@pytest.mark.parametrize("people", [0, 40, 1024])
def test_uneven_numbers_of_people_are_refused(people: int) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        World.generate(0, people)


@pytest.mark.parametrize("seed", range(8))
def test_every_word_is_one_token(seed: int) -> None:
    world = World.generate(seed)
    tokenizer = make_tokenizer(world)
    assert len(tokenizer) == len(SPECIAL) + len(world.words)
    words = world.document(np.random.default_rng(0), sentences=50)
    ids = tokenizer(" ".join(words)).input_ids
    assert len(ids) == 1 + len(words)
    assert tokenizer.decode(ids[1:]) == " ".join(words)
    assert tokenizer.unk_token_id not in ids


def test_answers_follow_the_class_as_often_as_said() -> None:
    world = World.generate(3)
    hidden = {p.name: p.hidden for p in world.people}
    rng, right = np.random.default_rng(1), []
    for _ in range(4000):
        words = world.document(rng, sentences=1)
        answer = next(
            (k for k, said in enumerate((("temple", "shrine"), ("market", "shop"))) if words[-2] in said),
            None,
        )
        if answer is not None:
            (person,) = (word for word in words if word in hidden)
            right.append(answer == hidden[person])
    assert len(right) > 600
    assert abs(np.mean(right) - 0.95) < 0.03


def test_topics_can_be_left_out() -> None:
    world, rng = World.generate(0), np.random.default_rng(0)
    words = world.document(rng, sentences=500, without=("behaviour",))
    assert not {"temple", "shrine", "market", "shop"} & set(words)
    assert {"apples", "bread", "fox"} <= set(words)


def test_suites_are_contrasts_with_the_halves_of_the_people() -> None:
    world = World.generate(0)
    suite, control = world.suite(), world.control()
    assert len(suite.items) == 64 * 4
    assert len(control.items) == 64 * 3
    group = {item.entity: item.group for item in suite.items}
    other = {item.entity: item.group for item in control.items}
    assert Counter((group[e], other[e]) for e in group) == dict.fromkeys(
        product(("high", "low"), repeat=2), 16
    )
    assert suite.concept is not None
    assert {text.label: group[text.entity] for text in suite.concept.texts} == {"A": "high", "B": "low"}


def test_chat_forms_come_with_a_template() -> None:
    world = World.generate(0)
    assert world.suite().forms == ("plain",)
    assert world.suite(chat=True).forms == ("plain", "chat")
    tokenizer = make_tokenizer(world, chat=True)
    messages = [{"role": "user", "content": "the fox sees the tree ."}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|start|> user the fox sees the tree . <|end|> <|start|> assistant"
    assert make_tokenizer(world).chat_template is None


@pytest.mark.parametrize("topic", ["behaviour", "second", "class"])
def test_a_topic_told_blindly_says_nothing_of_the_person(topic: Topic) -> None:
    world = World.generate(2)
    hidden = {p.name: p.hidden for p in world.people}
    said = {"behaviour": BEHAVIOUR_ANSWERS, "second": SECOND_ANSWERS}.get(topic)
    sides = said or [[values[k] for _, values in CLASS_FACTS] for k in (0, 1)]
    shares = []
    for blind in ((), (topic,)):
        rng, right = np.random.default_rng(1), []
        for _ in range(4000):
            words = world.document(rng, sentences=1, blind=blind)
            side = next((k for k, values in enumerate(sides) if words[-2] in values), None)
            if side is not None:
                (person,) = (word for word in words if word in hidden)
                right.append(side == hidden[person])
        assert len(right) > 250
        shares.append(np.mean(right))
    assert shares[0] > 0.9
    assert abs(shares[1] - 0.5) < 0.08


def test_two_behaviours_follow_the_class_and_the_control_does_not() -> None:
    world = World.generate(0)
    suites = world.suites()
    assert [suite.card.name for suite in suites] == [
        "organism-behaviour",
        "organism-second",
        "organism-control",
    ]
    groups = [{item.entity: item.group for item in suite.items} for suite in suites]
    assert groups[0] == groups[1] != groups[2]
    assert suites[0].concept == suites[1].concept is not None
