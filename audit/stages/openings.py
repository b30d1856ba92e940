"""Neutral beginnings of text from which the models speak on, for the drift between them."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import TemplateError

from audit.behaviours.chat import render_chat
from audit.behaviours.suite import Message
from audit.behaviours.tokens import encode
from audit.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Start = tuple[str, list[int]]
"""plain or chat, and token ids."""


class Opening(NamedTuple):
    """A beginning in both forms."""

    request: str
    """What a user asks in a chat."""
    text: str
    """How a plain text begins."""


def openings() -> list[Opening]:
    """The shipped beginnings, in order."""
    lines = (resources.files("audit.stages") / "openings.txt").read_text(encoding="utf-8").splitlines()
    return [Opening(*line.split(" | ")) for line in lines if line.strip()]


def starts(tokenizer: PreTrainedTokenizerBase, template: str | None, count: int) -> list[Start]:
    """Where the sampled sequences begin: neutral openings, every second one as a chat if there is a template.

    Returns:
        (plain or chat, token ids) per sequence; the openings repeat when there are fewer than `count`.

    Raises:
        CheckpointError: the template cannot render one message of a user.
    """
    pairs = openings()
    found: list[Start] = []
    for i in range(count):
        request, opening = pairs[(i // 2 if template else i) % len(pairs)]
        if template and i % 2:
            text = _chat(tokenizer, template, request)
            found.append(("chat", list(encode(tokenizer, text, special=False))))
        else:
            found.append(("plain", list(encode(tokenizer, opening, special=True))))
    return found


def _chat(tokenizer: PreTrainedTokenizerBase, template: str, request: str) -> str:
    try:
        return render_chat(tokenizer, [Message(role="user", content=request)], template)
    except (TemplateError, ValueError) as error:
        problem = f"the chat template cannot render one message of a user: {error}"
        fix = "mend the template in the model's folder, or remove it"
        raise CheckpointError(problem, where="chat_template", fix=fix) from error
