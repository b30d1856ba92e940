"""Choices that stand in the address: a row of buttons, a switch, a search box."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from dashboards.state import typed
from dashboards.text import one_line

FEW = 6
LONGEST = 90
"""Options, and characters of all of them, that fit as buttons; more become a select box."""
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,-]*")


def one_of(
    label: str,
    name: str,
    options: Sequence[str],
    *,
    default: str | None = None,
    help: str | None = None,
    shown: Callable[[Any], str] = one_line,
) -> str:
    """One of a few options, as buttons where they fit; its value stands in the address as `?name=...`.

    Args:
        label: above the buttons.
        name: of the query parameter, and key of the widget.
        options: what there is to choose; not empty.
        default: what is chosen where the address does not say; the first without.
        help: shown on hovering.
        shown: how an option is written, and how it stands in the address.
    """
    typed(name, options, options[0], shown)
    first = options[0] if default is None else default
    bound: dict[str, Any] = {"key": name, "help": help, "bind": "query-params", "format_func": shown}
    if _fits([shown(option) for option in options]):
        return str(st.segmented_control(label, options, default=first, required=True, **bound))
    return str(st.selectbox(label, options, list(options).index(first), **bound))


def search(label: str, name: str) -> str:
    """A search box whose text stands in the address."""
    found = st.text_input(label, key=name, max_chars=200, icon=":material/search:", bind="query-params")
    return (found or "").strip()


def _fits(texts: Sequence[str]) -> bool:
    """Whether options can be buttons: few, short, and no Markdown in them, which buttons read."""
    return len(texts) <= FEW and sum(map(len, texts)) < LONGEST and all(map(PLAIN.fullmatch, texts))
