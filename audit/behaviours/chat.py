"""Chats as text: one way to render them, on one day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from audit.behaviours.suite import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TODAY = "01 Jan 2026"
"""What a template that prints the date prints: an audit must not depend on the day it was run."""


def render_chat(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], template: str, *, closed: bool = False
) -> str:
    """The text of a chat; a last message of the assistant is left open to be continued, unless `closed`.

    Raises:
        jinja2.TemplateError, ValueError: the template cannot render these messages.
    """
    prefilled = messages[-1].role == "assistant"
    text = tokenizer.apply_chat_template(
        [message.model_dump() for message in messages],
        chat_template=_on_one_day(template),
        tokenize=False,
        continue_final_message=prefilled and not closed,
        add_generation_prompt=not prefilled,
    )
    return str(text)


def _on_one_day(template: str) -> str:
    """The template with transformers' clock replaced by `TODAY`, if it reads the clock."""
    if "strftime_now" not in template:
        return template
    return "{%- macro strftime_now(form) -%}" + TODAY + "{%- endmacro -%}" + template
