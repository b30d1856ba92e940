"""Which runs were given, which one is looked at, and what the address says.

Run folders come from the command line through the environment; the query parameter `run` only chooses among
them. Values that somebody typed into the address are checked before anything uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from audit.errors import AuditError
from dashboards.runs import given_runs
from dashboards.store import Store, manifest_hash, open_store
from dashboards.text import one_line, plain, printable

T = TypeVar("T", str, int)


def store_of(path: Path) -> Store:
    """The open run, kept while its manifest stays as it is."""
    return _opened(str(path), manifest_hash(path))


@st.cache_resource(max_entries=8, show_spinner=False, on_release=Store.close)
def _opened(path: str, manifest: str) -> Store:  # Streamlit leaves names with an underscore out of the key
    return open_store(Path(path))


def current() -> Store:
    """The run that the address names, or the first one; says so and stops where it cannot be opened."""
    runs = given_runs()
    if not runs:
        st.error("No run was given. Start with: audit dashboard RUN")
        st.stop()
    try:
        return store_of(runs[chosen_run()])
    except AuditError as error:
        say_error(error)
        st.stop()


def chosen_run() -> str:
    """Name of the run that is looked at: the picker's, else the address's, else the first."""
    runs = list(given_runs())
    picked = st.session_state.get("run")
    return picked if picked in runs else typed("run", runs, runs[0], one_line)


def typed(name: str, valid: Sequence[T], default: T, shown: Callable[[Any], str] = str) -> T:
    """The value of a query parameter, checked: one of `valid`, or the page says which are and stops."""
    text = st.query_params.get(name)
    if text is None or not valid:
        return default
    by_text = {shown(value): value for value in valid}
    if text not in by_text:
        refuse(name, text, list(by_text))
    return by_text[text]


def typed_all(name: str, valid: Sequence[str]) -> None:
    """Refuses a query parameter of which any of its values is not among `valid`."""
    for text in st.query_params.get_all(name):
        if text not in valid:
            refuse(name, text, valid)


def typed_float(name: str, low: float, high: float) -> None:
    """Refuses a query parameter that is no number between two ends."""
    text = st.query_params.get(name)
    if text is None:
        return
    try:
        number = float(text[:40])
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        refuse(name, text, [f"a number from {low:g} to {high:g}"])


def typed_number(name: str, low: int, high: int, default: int) -> int:
    """A whole number of the address between two ends, checked like `typed`."""
    text = st.query_params.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else -1
    if not low <= number <= high:
        refuse(name, text, [f"a whole number from {low} to {high}"])
    return number


def refuse(name: str, text: str, valid: Sequence[str]) -> None:
    """Says that the address asks for something that is not there, and what is; then stops the page."""
    st.error(f"The address asks for a {plain(name)} that is not there.")
    shown = ", ".join(valid[:20]) + (", ..." if len(valid) > 20 else "")
    st.text(f"asked for: {printable(text, 200)}\nvalid: {printable(shown, 2000)}")
    st.stop()


def choose(
    label: str,
    name: str,
    options: Sequence[str],
    *,
    default: str | None = None,
    shown: Callable[[Any], str] = one_line,
) -> str:
    """A select box whose value stands in the address as `?name=...`, so that the view can be shared.

    Args:
        label: above the box.
        name: of the query parameter, and key of the widget.
        options: what there is to choose; not empty.
        default: what is chosen where the address does not say; the first without.
        shown: how an option is written in the box.
    """
    typed(name, options, options[0], shown)
    first = options.index(default) if default is not None else 0
    chosen = st.selectbox(label, options, first, format_func=shown, key=name, bind="query-params")
    return str(chosen)


def say_error(error: AuditError) -> None:
    """An error of ours on a page: what, where, what to do; as text, never as markup."""
    st.error("This cannot be shown.", icon=":material/error:")
    st.text(printable("\n".join(error.lines()), 4000))
