"""Items asked in another way: a lead-in, a system prompt, examples before them. Nothing but text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audit.behaviours.suite import Item, Message, Suite
from audit.elicit.arms import PREFILLS, SHUFFLED, SYSTEMS, Arm

Contrast = tuple[str, str] | None


@dataclass(frozen=True)
class Shot:
    """A training item with an answer."""

    item: Item
    answer: str


def asked(arm: Arm, suite: Suite, items: Sequence[Item], *, system: bool, seed: int) -> list[Item]:
    """The items as an arm asks them; arms that change no text give them back.

    Args:
        arm: what to try.
        suite: whose training items are the examples, and whose card says what the behaviour is.
        items: to ask, in one form: see `in_form`.
        system: whether the chat template shows a system message; if not, it precedes the user's first turn.
        seed: of the choice of examples.
    """
    if arm.name == "prefill":
        return [prefilled(item, *PREFILLS[arm.variant]) for item in items]
    if arm.name == "system":
        text = SYSTEMS[arm.variant].format(showing=suite.card.showing.rstrip("."))
        return [with_system(item, text, system=system) for item in items]
    if arm.name == "few-shot":
        kind, draw = arm.variant.rsplit("-", 1)
        chosen = shots(suite, int(arm.dose), seed=seed + int(draw), shuffled=kind == SHUFFLED)
        return [with_shots(item, chosen) for item in items]
    return list(items)


def in_form(items: Sequence[Item], *, chat: bool) -> list[Item]:
    """The items with nothing but their chat form, or their plain one."""
    other = {"prompt": None} if chat else {"messages": None}
    return [item.model_copy(update=other) for item in items]


def prefilled(item: Item, answer: str, lead_in: str) -> Item:
    """The item with `answer` as the start of the assistant's turn, and `lead_in` before the plain prompt.

    Where nothing is between an answer that is opened here and the continuations, a space is put there.
    """
    prompt = None if item.prompt is None else lead_in + item.prompt
    if item.messages is None:
        return item.model_copy(update={"prompt": prompt})
    last = item.messages[-1]
    if last.role == "assistant":
        opened = last.model_copy(update={"content": f"{answer} {last.content}"})
        return item.model_copy(update={"prompt": prompt, "messages": (*item.messages[:-1], opened)})
    messages = (*item.messages, Message(role="assistant", content=answer))
    spaced = {
        side: tuple(text if text[0].isspace() else f" {text}" for text in getattr(item, side))
        for side in ("showing", "not_showing")
    }
    return item.model_copy(update={"prompt": prompt, "messages": messages, **spaced})


def with_system(item: Item, text: str, *, system: bool) -> Item:
    """The item under a system prompt, after its own if it has one; in plain form under a preface."""
    prompt = None if item.prompt is None else f"{text}\n\n{item.prompt}"
    messages = None if item.messages is None else _instructed(item.messages, text, system)
    return item.model_copy(update={"prompt": prompt, "messages": messages})


def _instructed(messages: tuple[Message, ...], text: str, system: bool) -> tuple[Message, ...]:
    first = messages[0]
    if first.role == "system" or not system:
        own = f"{first.content}\n{text}" if first.role == "system" else f"{text}\n\n{first.content}"
        return (first.model_copy(update={"content": own}), *messages[1:])
    return (Message(role="system", content=text), *messages)


def shots(suite: Suite, count: int, *, seed: int, shuffled: bool = False) -> tuple[Shot, ...]:
    """Training items with answers that show the behaviour, both sides of a contrast alike, in random order.

    In a contrast, what shows the behaviour is the showing answer for the high group, the other one for the
    low group. `shuffled`: the same items, but every second answer is the opposite one, on each side, so
    that the answers say nothing of the behaviour.
    """
    rng = np.random.default_rng([seed, count])
    pool = [item for item in suite.items if item.split == "train"]
    sides: tuple[str | None, ...] = suite.card.contrast or (None,)
    chosen: list[Shot] = []
    for number, side in enumerate(sides):
        own = [item for item in pool if side is None or item.group == side]
        share = min(max(1, count // len(sides)), len(own))
        for i, index in enumerate(rng.permutation(len(own))[:share]):
            shows = suite.card.contrast is None or side == suite.card.contrast[0]
            item, turned = own[index], shuffled and (i + number) % 2 == 1
            chosen.append(Shot(item, item.showing[0] if shows != turned else item.not_showing[0]))
    return tuple(chosen[i] for i in rng.permutation(len(chosen)))


def with_shots(item: Item, chosen: Sequence[Shot]) -> Item:
    """The item after answered examples: earlier turns of the chat, or earlier lines of the text."""
    prompt, messages = item.prompt, item.messages
    if prompt is not None:
        lines = [f"{shot.item.prompt or ''}{shot.answer}" for shot in chosen]
        prompt = "\n\n".join([*lines, prompt])
    if messages is not None:
        own = int(messages[0].role == "system")
        turns = [turn for shot in chosen for turn in _turns(shot)]
        messages = (*messages[:own], *turns, *messages[own:])
    return item.model_copy(update={"prompt": prompt, "messages": messages})


def _turns(shot: Shot) -> list[Message]:
    turns = [message for message in shot.item.messages or () if message.role != "system"]
    if turns and turns[-1].role == "assistant":
        answered = turns[-1].model_copy(update={"content": turns[-1].content + shot.answer})
        return [*turns[:-1], answered]
    return [*turns, Message(role="assistant", content=shot.answer.strip())]
