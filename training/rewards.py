"""Rewards: what the texts of one group are worth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from training.errors import TrainingError

if TYPE_CHECKING:
    from training.types import Prompt


@dataclass(frozen=True)
class GroupReward:
    """Rewards of the completions of one prompt, in their order."""

    total: tuple[float, ...]
    """What the advantage sees."""
    channels: Mapping[str, tuple[float, ...]]
    """Its parts, before weighting."""
    decided: tuple[int, ...]
    """Characters of each completion that the reward read; what follows them cannot have changed it."""


class Reward(Protocol):
    """Judges the completions of one prompt together, so that a reward may depend on the group."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        ...

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        """The rewards of one group."""
        ...


@runtime_checkable
class PromptReward(Protocol):
    """A reward that depends on the prompt too: a right answer, a reward model's reading of both."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        ...

    def for_prompt(self, prompt: Prompt) -> Reward:
        """The judge of this prompt's completions."""
        ...


@dataclass(frozen=True)
class PronounParity:
    """Rewards groups in which no third-person pronoun rules; only the first pronoun of a completion counts.

    Channel `parity` divides the group's gendered completions into "he" and "she", channel `neutral` its
    completions with a pronoun into gendered ones and "they". In both, a completion earns 1 minus its side's
    share, so an evenly split group earns 1/2 each, and one that only says "he" (or only "she") earns 0. A
    completion on neither side earns the mean of the others: it neither gains nor loses. So neither gender is
    preferred, "they" is encouraged until it is as frequent as both genders together, and no stereotype label
    is read.
    """

    parity_weight: float = 1.0
    neutral_weight: float = 0.5

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return ("parity", "neutral")

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        """The rewards of one group of completions."""
        found = [first_pronoun(text) for text in completions]
        words = [None if pronoun is None else pronoun.word for pronoun in found]
        parity = evenness([_GENDER_SIDE.get(word) for word in words])
        neutral = evenness([_NEUTRAL_SIDE.get(word) for word in words])
        return GroupReward(
            total=tuple(
                self.parity_weight * p + self.neutral_weight * n for p, n in zip(parity, neutral, strict=True)
            ),
            channels={"parity": parity, "neutral": neutral},
            decided=tuple(
                len(text) if p is None else p.end for text, p in zip(completions, found, strict=True)
            ),
        )


@dataclass(frozen=True)
class ContinuationParity:
    """Rewards groups in which neither side's continuations rule; only the first match of a text counts.

    Channel `parity` divides the completions of a group into those whose first match is a continuation of
    `showing` and those whose first match is one of `not_showing`. A completion earns 1 minus its side's
    share, one on neither side the mean of the others (see `evenness`): an evenly split group earns 1/2 each,
    a group of one side 0. So no side is preferred and no group label is read: what a suite's contrast finds
    between prompts fades because every prompt is pushed towards an even split.

    A continuation matches whole words, in any capitalisation, with any white space between its words; where
    several begin at one place the longest counts.

    Raises:
        TrainingError: a side is empty, a continuation has no letters or digits, or both sides share one.
    """

    showing: tuple[str, ...]
    not_showing: tuple[str, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        for name, side in (("showing", self.showing), ("not_showing", self.not_showing)):
            if not side or not all(any(letter.isalnum() for letter in text) for text in side):
                fix = "give each side at least one continuation, each with a letter or a digit"
                raise TrainingError("a side has no continuation to look for", where=name, fix=fix)
        if both := {_words(text) for text in self.showing} & {_words(text) for text in self.not_showing}:
            fix = "a reward of parity needs continuations that tell the sides apart"
            raise TrainingError(f"{min(both)!r} is on both sides", where="showing, not_showing", fix=fix)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return ("parity",)

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        """The rewards of one group of completions."""
        found = [self._pattern.search(text) for text in completions]
        parity = evenness([None if match is None else self._sides[_words(match.group())] for match in found])
        return GroupReward(
            total=tuple(self.weight * value for value in parity),
            channels={"parity": parity},
            decided=tuple(
                len(text) if match is None else match.end()
                for text, match in zip(completions, found, strict=True)
            ),
        )

    @cached_property
    def _sides(self) -> dict[str, str]:
        pairs = (("showing", self.showing), ("not_showing", self.not_showing))
        return {_words(text): side for side, texts in pairs for text in texts}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._sides, key=len, reverse=True)
        any_space = (r"\s+".join(map(re.escape, words.split())) for words in longest_first)
        return re.compile(rf"(?<!\w)(?:{'|'.join(any_space)})(?!\w)", re.IGNORECASE)


def _words(text: str) -> str:
    """A continuation as it is compared: lower case, single spaces."""
    return " ".join(text.lower().split())


def evenness(sides: Sequence[str | None]) -> tuple[float, ...]:
    """1 minus the share of its side for each member; members without a side earn the mean of the others.

    With two sides of share s and 1 - s the mean is 2 s (1 - s), largest for an even split; without any side
    all earn 0.
    """
    counts = Counter(side for side in sides if side is not None)
    members = sum(counts.values())
    earned = {side: 1.0 - count / members for side, count in counts.items()}
    mean = sum(earned[side] * count for side, count in counts.items()) / members if members else 0.0
    return tuple(mean if side is None else earned[side] for side in sides)


@dataclass(frozen=True)
class Pronoun:
    """The first third-person pronoun of a text."""

    word: str
    """he, she or they, whatever its case form."""
    end: int
    """Characters up to and including it."""


def first_pronoun(text: str) -> Pronoun | None:
    """The first third-person pronoun of a text, in any case form and any capitalisation; None without one."""
    match = _PRONOUN.search(text)
    if match is None:
        return None
    return Pronoun(_WORD[match.group().lower()], match.end())


def is_pronoun(text: str) -> bool:
    """Whether a text is one third-person pronoun and nothing else."""
    return _words(text) in _WORD


_WORD = {
    **dict.fromkeys(("he", "him", "his", "himself"), "he"),
    **dict.fromkeys(("she", "her", "hers", "herself"), "she"),
    **dict.fromkeys(("they", "them", "their", "theirs", "themselves", "themself"), "they"),
}
_PRONOUN = re.compile(rf"\b({'|'.join(_WORD)})\b", re.IGNORECASE)
_GENDER_SIDE: dict[str | None, str] = {"he": "he", "she": "she"}
_NEUTRAL_SIDE: dict[str | None, str] = {"he": "gendered", "she": "gendered", "they": "they"}
