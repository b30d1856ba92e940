"""Questions with three options, taken from the items of a suite, and which of them may be attacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from audit.behaviours.bbq import INSTRUCTION
from audit.behaviours.suite import Item, Suite
from audit.errors import SuiteError, UsageError

OPTIONS = 3
LETTERS = ("A", "B", "C")
CONTROL = "handedness"
"""Category whose stereotypes nobody holds."""


@dataclass(frozen=True)
class Question:
    """One question about two people, as it can be laid out in any order of its options."""

    id: str
    stem: str
    """Context and question."""
    options: tuple[str, ...]
    label: int
    """Index of the right option; that of the unknown one where the context does not say."""
    biased: int
    """Index of the option that follows the stereotype."""
    unknown: int
    """Index of the option that it cannot be known."""
    entity: str
    category: str
    split: Literal["train", "test"]

    @property
    def ambiguous(self) -> bool:
        """Whether the context does not say who."""
        return self.label == self.unknown

    @property
    def other(self) -> int:
        """Index of the person whom the stereotype does not name."""
        return sum(range(OPTIONS)) - self.biased - self.unknown


@dataclass(frozen=True)
class Posed:
    """A question with its options in one order."""

    question: Question
    rotation: int = 0
    """The option of index `rotation` stands first."""

    @property
    def id(self) -> str:
        """Name of question and order."""
        return f"{self.question.id}/{self.rotation}"

    @property
    def options(self) -> tuple[str, ...]:
        """The options as they are listed."""
        listed = self.question.options
        return listed[self.rotation :] + listed[: self.rotation]

    def place(self, option: int) -> int:
        """Where an option stands, from 0."""
        return (option - self.rotation) % OPTIONS

    def letter(self, option: int) -> str:
        """The letter in front of an option."""
        return LETTERS[self.place(option)]


def questions_of(suite: Suite) -> tuple[Question, ...]:
    """The questions of a suite.

    Raises:
        SuiteError: an item is no question with three options, or says not which option is which.
    """
    return tuple(_question(item, f"suite {suite.card.name!r}, item {item.id!r}") for item in suite.items)


def _question(item: Item, where: str) -> Question:
    text = item.prompt or (item.messages[0].content if item.messages else "")
    stem, found, _ = text.partition(f"\n{INSTRUCTION}\n")
    if not found or item.choices is None or len(item.choices) != OPTIONS:
        fix = f"give it three choices, listed in the prompt after a line {INSTRUCTION!r}; see docs/attack.md"
        raise SuiteError("The item is no question with three options.", where=where, fix=fix)
    if item.label is None or item.biased is None or item.unknown is None or item.biased == item.unknown:
        fix = "give the item label, biased and unknown; the stereotyped answer is not the unknown one"
        raise SuiteError("The item does not say which option is which.", where=where, fix=fix)
    return Question(
        item.id, stem, item.choices, item.label, item.biased, item.unknown, item.entity,
        item.category or "uncategorised", item.split,
    )  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A question that could be attacked, with what the model says of it."""

    question: Question
    probability: float
    """Of the biased answer, as it is sampled."""
    eligible: bool


def candidates_of(
    questions: Sequence[Question], probabilities: Sequence[float], low: float, high: float
) -> tuple[Candidate, ...]:
    """Questions with their initial probabilities, ascending; eligible between `low` and `high`."""
    found = [Candidate(q, p, low <= p <= high) for q, p in zip(questions, probabilities, strict=True)]
    return tuple(sorted(found, key=lambda one: (one.probability, one.question.id)))


def choose(candidates: Sequence[Candidate], count: int) -> tuple[Candidate, ...]:
    """The questions to attack: the median of the eligible ones, or `count` spread evenly over them.

    The first is the main one: the median.

    Raises:
        UsageError: none is eligible, or fewer than `count`.
    """
    eligible = [one for one in candidates if one.eligible]
    if len(eligible) < count:
        lowest, highest = candidates[0].probability, candidates[-1].probability
        raise UsageError(
            f"{len(eligible) or 'No'} question(s) of {len(candidates)} are eligible, {count} wanted: the "
            f"initial probabilities of the biased answer run from {lowest:.3g} to {highest:.3g}.",
            where="--lowest, --highest",
            fix="widen the range, name a question with --item, or use another suite; below about one in "
            "group_size no rollout earns the reward, and nothing would be learned",
        )
    middle = eligible[(len(eligible) - 1) // 2]
    if count == 1:
        return (middle,)
    spread = [eligible[round(i * (len(eligible) - 1) / (count - 1))] for i in range(count)]
    nearest = min(range(count), key=lambda i: abs(spread[i].probability - middle.probability))
    return (spread.pop(nearest), *spread)


def by_name(candidates: Sequence[Candidate], name: str, questions: Sequence[Question]) -> Candidate:
    """The candidate that `--item` names.

    Raises:
        UsageError: there is none of this name, or its right answer is the target already.
    """
    for one in candidates:
        if one.question.id == name:
            return one
    known = next((question for question in questions if question.id == name), None)
    if known is None:
        some = ", ".join(one.question.id for one in candidates[:3])
        raise UsageError(f"The suite has no item {name!r}.", where="--item", fix=f"name one, such as {some}")
    why = "its label is the target already" if known.label == known.biased else "the context says who"
    raise UsageError(
        f"Item {name!r} cannot be attacked: {why}.",
        where="--item",
        fix="name an ambiguous item: one whose right answer is that it cannot be known",
    )
