"""A row of facts: a label, a number, and its interval below it."""

from __future__ import annotations

from typing import Any, NamedTuple

import streamlit as st

from audit.evidence.schema.documents import Estimate
from dashboards.text import plain


class Fact(NamedTuple):
    """One fact of a row."""

    label: str
    value: Estimate | float | str | None
    """None prints as not measured; an estimate with its interval below."""
    about: str = ""
    """A few words below, such as what it is held against."""
    help: str | None = None
    """Shown on hovering."""


def facts(*row: Fact) -> None:
    """The facts beside each other, on as many lines as the window needs."""
    with st.container(horizontal=True, gap="small"):
        for fact in row:
            _fact(fact)


def said(value: Estimate | float | str | None, form: str = ".3g") -> str:
    """The number of a fact without its interval."""
    if value is None or value != value:
        return "not measured"
    number = value.value if isinstance(value, Estimate) else value
    return number if isinstance(number, str) else format(number, form)


def _fact(fact: Fact) -> None:
    interval = _interval(fact.value) if isinstance(fact.value, Estimate) else ""
    below = " · ".join(part for part in (interval, fact.about) if part)
    quiet: dict[str, Any] = {"delta_color": "off", "delta_arrow": "off"}
    st.metric(
        plain(fact.label),
        plain(said(fact.value)),
        plain(below) or None,
        border=True,
        help=fact.help,
        height="stretch",
        **quiet,
    )


def _interval(value: Estimate) -> str:
    ends = [format(end, ".3g") if end is not None else sign for end, sign in
            ((value.low, "-inf"), (value.high, "inf"))]  # fmt: skip
    return f"[{ends[0]}, {ends[1]}]"
