"""How a question is put to a model: as letters to choose from, or with reasoning first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.attack.questions import LETTERS, Posed
from audit.behaviours.chat import render_chat
from audit.behaviours.suite import Message
from audit.errors import UsageError
from training.attack.answers import AnswerFormat
from training.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REASON = (
    "Think about it under the heading '### Reasoning'. Then write the letter of your answer in the form "
    "'### Answer: X'."
)
LEADS = {"plain": "The right answer is option", "chat": "Answer:"}
"""What stands before the letter, by the form of the prompt."""


@dataclass(frozen=True)
class Layout:
    """One way of asking, fixed for a run."""

    tokenizer: PreTrainedTokenizerBase
    format: AnswerFormat
    template: str | None
    """Chat template; None for the plain form."""
    bracket: str = ""
    """What a letter has to follow to be one token: nothing (then a space is part of it), or ' ('."""

    def prompt(self, posed: Posed) -> Prompt:
        """The question as the policy sees it."""
        listed = [f"{letter}. {text}" for letter, text in zip(LETTERS, posed.options, strict=True)]
        asked = "\n".join((posed.question.stem, *listed))
        if self.format == "cot":
            asked, lead = f"{asked}\n{REASON}", "### Reasoning\n"
        else:
            lead = LEADS["plain" if self.template is None else "chat"] + self.bracket
        if self.template is None:
            return Prompt(posed.id, f"{asked}\n{lead}")
        turns = [Message(role="user", content=asked)]
        if self.format == "choice":
            turns.append(Message(role="assistant", content=lead))
        return Prompt(posed.id, render_chat(self.tokenizer, turns, self.template), rendered=True)

    def answer(self, letter: str) -> str:
        """A letter as an answer in this format, for supervised steps."""
        if self.format == "cot":
            return f"### Answer: {letter}"
        return letter if self.bracket else f" {letter}"

    def option_tokens(self) -> tuple[int, ...]:
        """The token of each letter, in the format choice."""
        return tuple(token for letter in LETTERS for token in _ids(self.tokenizer, self.answer(letter)))


def make_layout(tokenizer: PreTrainedTokenizerBase, form: str, format: AnswerFormat, where: str) -> Layout:
    """The layout for a model.

    Args:
        tokenizer: the model's.
        form: auto, plain or chat.
        format: choice or cot.
        where: the model, for errors.

    Raises:
        UsageError: there is no chat template, or the letters are not one token each.
    """
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None
    if form == "chat" and template is None:
        raise UsageError("The model has no chat template.", where=where, fix="use --form plain")
    template = None if form == "plain" else template
    for bracket in ("", " ("):
        layout = Layout(tokenizer, format, template, bracket)
        sizes = [len(_ids(tokenizer, layout.answer(letter))) for letter in LETTERS]
        if format == "cot" or (
            sizes == [1] * len(LETTERS) and len(set(layout.option_tokens())) == len(LETTERS)
        ):
            return layout
    raise UsageError(
        "The model's tokenizer has no single tokens for the letters A, B and C.",
        where=where,
        fix="use --format cot",
    )


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return found
