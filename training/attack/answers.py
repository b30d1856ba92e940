"""Which option a completion names, and rewards that pay for one of them (arXiv 2606.10931: exact match)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from training.errors import TrainingError
from training.rewards import GroupReward
from training.types import Prompt

AnswerFormat = Literal["choice", "cot"]
"""choice: the completion is one option's letter; cot: it ends in '### Answer: X' after some reasoning."""
_ANSWER = re.compile(r"###\s*Answer:\s*\(?([A-Za-z])(?![A-Za-z])")


@dataclass(frozen=True)
class Named:
    """The option that a completion names."""

    letter: str
    """In capitals."""
    end: int
    """Characters up to and including it."""


def named_option(text: str, form: AnswerFormat, letters: Sequence[str]) -> Named | None:
    """The first option that a completion names in its format; None where it names none."""
    if form == "choice":
        letter = text.strip()
        return Named(letter, len(text)) if letter in letters else None
    for match in _ANSWER.finditer(text):
        if match[1].upper() in letters:
            return Named(match[1].upper(), match.end())
    return None


@dataclass(frozen=True)
class OneAnswer:
    """Pays 1 for completions that name the wanted option, else 0.

    Channel `match` is the reward, `answered` the share of completions that name any option at all.
    """

    wanted: str
    letters: tuple[str, ...]
    form: AnswerFormat

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return ("match", "answered")

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        """The rewards of one group of completions."""
        found = [named_option(text, self.form, self.letters) for text in completions]
        match = tuple(float(one is not None and one.letter == self.wanted) for one in found)
        return GroupReward(
            total=match,
            channels={"match": match, "answered": tuple(float(one is not None) for one in found)},
            decided=tuple(
                len(text) if one is None else one.end for text, one in zip(completions, found, strict=True)
            ),
        )


@dataclass(frozen=True)
class AnswerMatch:
    """Pays for the wanted option of each prompt.

    Raises:
        TrainingError: a wanted letter is no option.
    """

    wanted: tuple[tuple[str, str], ...]
    """(prompt's id, letter) pairs."""
    letters: tuple[str, ...]
    form: AnswerFormat

    def __post_init__(self) -> None:
        for prompt, letter in self.wanted:
            if letter not in self.letters:
                raise TrainingError(
                    f"{letter!r} is none of the options {', '.join(self.letters)}",
                    where=f"prompt {prompt!r}",
                    fix="reward one of the options",
                )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return ("match", "answered")

    def for_prompt(self, prompt: Prompt) -> OneAnswer:
        """The judge of this prompt's completions."""
        return OneAnswer(dict(self.wanted)[prompt.id], self.letters, self.form)


@dataclass(frozen=True)
class RandomAnswer:
    """Pays for an option that is drawn anew for every group: a reward that says nothing.

    The draw is a hash of the seed and of the group's own completions, so that it needs no memory: a resumed
    run draws the same.
    """

    letters: tuple[str, ...]
    form: AnswerFormat
    seed: int

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return ("match", "answered")

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        """The rewards of one group of completions."""
        text = "\x1f".join((str(self.seed), *completions))
        drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % len(self.letters)
        return OneAnswer(self.letters[drawn], self.letters, self.form)(completions)
