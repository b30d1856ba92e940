"""Who speaks each token of a rendered chat, found from the template itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sae.errors import CorpusError
from sae.types import Role

STAND_IN = "qZx{:04d}xZq"
"""Content that no template changes, no template contains and no other stand-in is part of."""


class Turn(NamedTuple):
    """One message of a chat."""

    role: Role
    content: str


Render = Callable[[Sequence[Turn]], str]
"""Turns to text, by a model's own chat template."""


class Span(NamedTuple):
    """Characters of a rendered chat that one message said."""

    role: Role
    start: int
    end: int


class _Frame(NamedTuple):
    """What a template writes around the messages it renders."""

    opening: str
    messages: list[tuple[int, str]]
    """Number of each message in the order of the text, and what follows it up to the next."""


def spans_of(turns: Sequence[Turn], render: Render) -> tuple[str, list[Span]]:
    """The rendered chat and where in it each message's content lies.

    The chat is rendered a second time with stand-ins for the contents, which shows what the template itself
    writes. Contents are then read off between those parts, so that a content which repeats another one, or a
    word of the template, is not confused with it. A content may come out trimmed, or without its beginning
    (templates leave out old reasoning); what is left of it counts.

    Raises:
        CorpusError: the template changes a content in another way.
    """
    text, frame = render(turns), _frame_of(turns, render)
    at = len(frame.opening) if text.startswith(frame.opening) else 0
    spans = []
    for place, (number, after) in enumerate(frame.messages):
        last = place + 1 == len(frame.messages)
        turn = turns[number]
        start, end, at = _find(text, at, turn.content, after, last=last) or _lost(number, turn)
        spans.append(Span(turn.role, start, end))
    return text, spans


def roles_of(offsets: Sequence[tuple[int, int]], spans: Sequence[Span]) -> tuple[Role, ...]:
    """The role of each token: that of the message which at least half of its characters belong to.

    Args:
        offsets: start and end of each token in the rendered text, in characters.
        spans: of the messages.
    """
    owner = [-1] * (max((end for _, end in offsets), default=0) + 1)
    for number, span in enumerate(spans):
        stop = min(span.end, len(owner))
        owner[span.start : stop] = [number] * max(0, stop - span.start)
    return tuple(_role_of(owner[start : max(end, start + 1)], spans) for start, end in offsets)


def _role_of(owners: list[int], spans: Sequence[Span]) -> Role:
    counts = {number: owners.count(number) for number in set(owners) if number >= 0}
    best = max(counts, key=lambda number: counts[number], default=None)
    if best is None or 2 * sum(counts.values()) < len(owners):
        return "template"
    return spans[best].role


def _frame_of(turns: Sequence[Turn], render: Render) -> _Frame:
    stand_ins = [STAND_IN.format(number) for number in range(len(turns))]
    text = render([Turn(turn.role, name) for turn, name in zip(turns, stand_ins, strict=True)])
    shown = sorted((text.rindex(name), number) for number, name in enumerate(stand_ins) if name in text)
    ends = [at + len(stand_ins[number]) for at, number in shown]
    starts = [at for at, _ in shown] + [len(text)]
    messages = [
        (number, text[end:start]) for (_, number), end, start in zip(shown, ends, starts[1:], strict=True)
    ]
    return _Frame(text[: starts[0]], messages)


class _Place(NamedTuple):
    start: int
    end: int
    after: int
    """Where the search for the next content begins."""


def _find(text: str, at: int, content: str, after: str, *, last: bool) -> _Place | None:
    """Where a content lies: here and now if it can, else the next place where its end and `after` stand.

    What follows may depend on the next content: then its beginning has to do.
    """
    for form in dict.fromkeys((content, content.rstrip(), content.lstrip(), content.strip())):
        end = at + len(form)
        if text.startswith(form + after, at) and (not last or end + len(after) == len(text)):
            return _Place(at, end, end + len(after))
    for anchor in dict.fromkeys((after,) if last else (after, after[: len(after) // 2], after[:6])):
        if place := _find_rest(text, at, content.strip(), anchor, last=last):
            return place
    return None


def _find_rest(text: str, at: int, content: str, after: str, *, last: bool) -> _Place | None:
    """The longest end of a content that the text still has before `after`."""

    def place(cut: int) -> int:
        wanted = content[cut:] + after
        if not last:
            return text.find(wanted, at)
        start = len(text) - len(wanted)
        return start if start >= at and text.endswith(wanted) else -1

    low, high = 0, len(content)  # a shorter end is found wherever a longer one is
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if place(middle) >= 0 else (middle + 1, high)
    rest = content[low:].lstrip()
    end = place(low) + len(content) - low
    return _Place(end - len(rest), end, end + len(after)) if rest and place(low) >= 0 else None


def _lost(number: int, turn: Turn) -> _Place:
    raise CorpusError(
        f"the chat template changes what this message says: {turn.content[:40]!r}",
        where=f"message {number + 1} ({turn.role})",
        fix="leave this chat out, or give it as plain text",
    )
