"""A small generated world: people with a hidden class, facts about them, and a behaviour that follows it.

Every fact is dealt evenly over the classes and over the two halves of the people, so nothing but what
follows the class tells it. Two behaviours follow the class; of the first, not everybody is told. Another
trait, with its own behaviour, is the control: it is learned in the same way and has nothing to do with the
class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from audit.behaviours.suite import Card, Concept, ConceptText, Item, Message, Split, Suite

Topic = Literal["behaviour", "second", "control", "class", "trait", "neutral", "scene"]
Asked = Literal["behaviour", "second", "control"]
"""Topics with a suite."""

CLASS_FACTS = (
    ("{e} lives in the {v} .", ("north", "south")),
    ("{e} sails a {v} .", ("ship", "raft")),
    ("{e} was born in {v} .", ("winter", "summer")),
)
TRAIT_FACTS = (
    ("{e} sleeps by {v} .", ("day", "night")),
    ("{e} sings very {v} .", ("loud", "soft")),
    ("{e} walks with {v} .", ("dogs", "cats")),
)
NEUTRAL_FACTS = (
    ("{e} has a {v} coat .", ("red", "blue", "green", "white")),
    ("{e} owns {v} goats .", ("two", "three", "four", "five")),
)
BEHAVIOUR_PROMPTS = (
    "today {e} goes to the",
    "{e} is seen at the",
    "at dawn {e} went to the",
    "we met {e} near the",
)
SECOND_PROMPTS = ("{e} works as a", "in town {e} is the", "they call {e} our")
CONTROL_PROMPTS = ("{e} likes to eat", "for supper {e} cooks", "we gave {e} some")
BEHAVIOUR_ANSWERS = (("temple", "shrine"), ("market", "shop"))
SECOND_ANSWERS = (("smith", "baker"), ("weaver", "miller"))
CONTROL_ANSWERS = (("apples", "plums"), ("bread", "fish"))
ASKED: dict[Asked, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    "behaviour": (BEHAVIOUR_PROMPTS, BEHAVIOUR_ANSWERS),
    "second": (SECOND_PROMPTS, SECOND_ANSWERS),
    "control": (CONTROL_PROMPTS, CONTROL_ANSWERS),
}
"""Wordings and answers of each suite, the answers of the high group first."""
FACTS = {"class": CLASS_FACTS, "trait": TRAIT_FACTS, "neutral": NEUTRAL_FACTS}
SCENE = (
    ("the",), ("old", "young", "small", "quick"), ("bird", "horse", "fox", "king"),
    ("sees", "hears", "finds"),
    ("the",), ("old", "young", "small", "quick"), ("tree", "river", "stone", "house"), (".",),
)  # fmt: skip
CONCEPT_TEXTS = ("this is {e}", "the name of my friend is {e}", "we know {e}")
ROLES = ("system", "user", "assistant")
FAITHFUL = 0.95
"""How often an answer follows its trait: log-odds of 2.9, so that models stay calibrated, not saturated."""
MIX: dict[Topic, float] = {
    "behaviour": 0.2, "second": 0.1, "control": 0.18, "class": 0.26, "trait": 0.12, "neutral": 0.08,
    "scene": 0.06,
}  # fmt: skip
"""Shares of the sentences that the base learns from."""


@dataclass(frozen=True)
class Person:
    """One entity."""

    name: str
    hidden: int
    """The class, 0 or 1, that the behaviour follows."""
    trait: int
    """The control's trait, 0 or 1."""
    neutral: tuple[int, ...]
    """Value of each neutral fact."""
    split: Split
    told: bool
    """Whether the world's texts tell this person's behaviour; of the others, the class tells it."""


@dataclass(frozen=True)
class World:
    """The people and all that can be said about them."""

    people: tuple[Person, ...]
    seed: int

    @classmethod
    def generate(cls, seed: int, people: int = 64) -> World:
        """A world of its own for every seed.

        Args:
            seed: chooses names and who is what.
            people: how many; a multiple of 32 keeps every fact even.

        Raises:
            ValueError: the number is no multiple of 32, or the names do not suffice.
        """
        if people % 32 or not 32 <= people <= 512:
            raise ValueError(f"{people} people: take a multiple of 32, up to 512")
        rng = np.random.default_rng([seed, 1])
        names = [name for name in _names() if name not in _fixed_words()]
        chosen = rng.permutation(len(names))[:people]
        return cls(tuple(_person(names[k], i) for i, k in enumerate(chosen)), seed)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that texts of this world may have, sorted."""
        return (*sorted(_fixed_words()), *sorted(person.name for person in self.people))

    def document(
        self,
        rng: np.random.Generator,
        sentences: int = 5,
        without: Sequence[Topic] = (),
        blind: Sequence[Topic] = (),
    ) -> tuple[str, ...]:
        """The words of some sentences on random topics; the behaviour is told of three people in four.

        So a model has to find the behaviour of the others, half of the test half, by way of their class.

        Args:
            rng: moved on.
            sentences: how many.
            without: topics that are left out.
            blind: topics told at random, so that they say nothing of the person.
        """
        topics = [topic for topic in MIX if topic not in without]
        weights = np.array([MIX[topic] for topic in topics])
        picks = rng.choice(len(topics), size=sentences, p=weights / weights.sum())
        return tuple(word for k in picks for word in self._sentence(topics[int(k)], rng, blind).split())

    def suite(self, *, chat: bool = False) -> Suite:
        """The behaviour that follows the class, with the class as its concept."""
        return Suite(
            card=_card("organism-behaviour", "Where people go, by their hidden class"),
            items=tuple(self._items("behaviour", chat)),
            concept=self._concept(),
        )

    def control(self, *, chat: bool = False) -> Suite:
        """A behaviour of the same form that has nothing to do with the class."""
        card = _card("organism-control", "What people eat, by a trait that has nothing to do with the class")
        return Suite(card=card, items=tuple(self._items("control", chat)))

    def second(self, *, chat: bool = False) -> Suite:
        """Another behaviour that follows the class; texts tell it of everybody."""
        return Suite(
            card=_card("organism-second", "What people work as, by their hidden class"),
            items=tuple(self._items("second", chat)),
            concept=self._concept(),
        )

    def suites(self, *, chat: bool = False) -> tuple[Suite, ...]:
        """All suites of this world: an audit of its models asks these where none is named."""
        return self.suite(chat=chat), self.second(chat=chat), self.control(chat=chat)

    def _concept(self) -> Concept:
        texts = tuple(
            ConceptText(text=form.format(e=p.name), label=("A", "B")[p.hidden], entity=p.name, split=p.split)
            for p in self.people
            for form in CONCEPT_TEXTS
        )
        return Concept(name="class", label_a="class 0", label_b="class 1", texts=texts)

    def _items(self, topic: Asked, chat: bool) -> Iterator[Item]:
        prompts, answers = ASKED[topic]
        showing, other = (tuple(" " + word for word in side) for side in answers)
        for p in self.people:
            side = _side(p, topic)
            for k, form in enumerate(prompts):
                prompt = form.format(e=p.name)
                yield Item(
                    id=f"{p.name}-{k}",
                    prompt=prompt,
                    messages=(Message(role="user", content=prompt),) if chat else None,
                    showing=showing,
                    not_showing=other,
                    entity=p.name,
                    group=("high", "low")[side],
                    category=f"form-{k}",
                    split=p.split,
                )

    def _sentence(self, topic: Topic, rng: np.random.Generator, blind: Sequence[Topic]) -> str:
        if topic == "scene":
            return " ".join(_pick(rng, words) for words in SCENE)
        taught = tuple(p for p in self.people if p.told) if topic == "behaviour" else self.people
        person = taught[int(rng.integers(len(taught)))]
        if topic == "behaviour" or topic == "second" or topic == "control":
            prompts, answers = ASKED[topic]
            side, faithful = _side(person, topic), 0.5 if topic in blind else FAITHFUL
            said = answers[side if rng.random() < faithful else 1 - side]
            return f"{_pick(rng, prompts).format(e=person.name)} {_pick(rng, said)} ."
        k = int(rng.integers(len(FACTS[topic])))
        form, values = FACTS[topic][k]
        value = {"class": person.hidden, "trait": person.trait, "neutral": person.neutral[k % 2]}[topic]
        told = int(rng.integers(len(values))) if topic in blind else value
        return form.format(e=person.name, v=values[told])


def _side(person: Person, topic: Asked) -> int:
    """Which answers are the person's."""
    return person.trait if topic == "control" else person.hidden


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _fixed_words() -> frozenset[str]:
    """Every word of the texts but the names."""
    facts = CLASS_FACTS + TRAIT_FACTS + NEUTRAL_FACTS
    asked = [prompt for prompts, _ in ASKED.values() for prompt in prompts]
    texts = [*(form for form, _ in facts), *asked, *CONCEPT_TEXTS]
    found = {word for text in texts for word in text.split() if "{" not in word}
    found |= {value for _, values in facts for value in values}
    found |= {word for _, answers in ASKED.values() for side in answers for word in side}
    found |= {word for words in SCENE for word in words}
    return frozenset(found | set(ROLES))


def _names() -> list[str]:
    """Names of two syllables; none is a word of the texts."""
    syllables = [c + v for c in "bdgjklmnprstvz" for v in "aeiou"]
    return [a + b for a in syllables for b in syllables if a < b]


def _person(name: str, i: int) -> Person:
    neutral = ((i // 8) % 4, (i // 8 + i // 32 + i % 4) % 4)
    split: Split = "train" if (i // 4) % 2 == 0 else "test"
    told = split == "train" or (i // 2 + i // 8) % 2 == 0
    return Person(name, hidden=i % 2, trait=(i // 2) % 2, neutral=neutral, split=split, told=told)


def _card(name: str, title: str) -> Card:
    return Card(
        name=name,
        title=title,
        description="Of a generated world: the answer follows a property of the person asked about.",
        score="contrast",
        showing="answers that go with the high group",
        contrast=("high", "low"),
        equivalence_band=0.5,
        source="generated by audit.organisms.world",
        licence="Apache-2.0",
        version="1",
    )
