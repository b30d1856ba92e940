"""Both models under one arm: rows of the table `items`, one per held-out item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from jinja2 import TemplateError

from audit.behaviours.chat import render_chat
from audit.behaviours.logprobs import continuation_logprobs
from audit.behaviours.score import items_frame
from audit.behaviours.suite import Item, Message, Suite
from audit.behaviours.tokens import Request, render, request
from audit.elicit.arms import Arm
from audit.elicit.models import Pair, Side, amplified, tempered
from audit.elicit.prompts import asked, in_form

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Bench:
    """A suite and how it is asked."""

    suite: Suite
    """Whole, since examples come from its training items."""
    items: tuple[Item, ...]
    """Held-out items to score."""
    form: str
    """Name of the template: plain, chat, chat-base or chat-tuned."""
    template: str | None
    """The chat template; None is the plain form."""
    batch_size: int
    vocabulary: int | None
    seed: int


def requests_under(arm: Arm, bench: Bench, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
    """The held-out items as token ids, as an arm asks them.

    Raises:
        SuiteError: the chat template cannot render what the arm makes of an item.
    """
    items = in_form(bench.items, chat=bench.template is not None)
    system = bench.template is not None and shows_system(tokenizer, bench.template)
    found = []
    for item in asked(arm, bench.suite, items, system=system, seed=bench.seed):
        where = f"suite {bench.suite.card.name!r}, item {item.id!r}, {arm.key}"
        rendered = render(item, tokenizer, bench.template, where)
        found.append(request(tokenizer, rendered, item.showing + item.not_showing, where))
    return found


def shows_system(tokenizer: PreTrainedTokenizerBase, template: str) -> bool:
    """Whether a chat template prints a system message: some refuse it, some drop it."""
    messages = (Message(role="system", content="Q7Z"), Message(role="user", content="hello"))
    try:
        return "Q7Z" in render_chat(tokenizer, messages, template)
    except (TemplateError, ValueError):
        return False


def scored(
    arm: Arm,
    bench: Bench,
    pair: Pair,
    side: Side,
    requests: Sequence[Request],
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> pd.DataFrame:
    """One model under one arm.

    Log-odds are of the card's kind; on the share scale log-probabilities are never per token, since they
    stand for samples.
    """
    with _opened(arm, pair, side, bench.vocabulary) as model:
        sums = continuation_logprobs(
            model, requests, batch_size=bench.batch_size, vocabulary=bench.vocabulary, progress=progress
        )
    card = bench.suite.card
    if arm.scale == "share":
        card = card.model_copy(update={"length_normalised": False})
    held_out = bench.suite.model_copy(update={"items": bench.items, "card": card})
    frame = items_frame(held_out, f"{bench.form} {arm.key}", sums)
    return frame.assign(model=side)


@contextmanager
def _tempered(pair: Pair, side: Side, temperature: float) -> Iterator[PreTrainedModel]:
    with pair.model(side) as model:
        yield tempered(model, temperature)


def _opened(
    arm: Arm, pair: Pair, side: Side, vocabulary: int | None
) -> AbstractContextManager[PreTrainedModel]:
    if arm.name == "amplify":
        return amplified(pair, arm.dose, vocabulary)
    return pair.model(side) if arm.name != "temperature" else _tempered(pair, side, arm.dose)
