"""The application: which pages there are, what stands around each, and where errors of a run end."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from audit.errors import AuditError
from dashboards import widgets
from dashboards.runs import given_runs
from dashboards.state import say_error, typed
from dashboards.text import one_line


class Entry(NamedTuple):
    """One page: module `dashboards.pages.<name>`, address `/<name>`."""

    name: str
    title: str
    icon: str
    section: str


ICON = Path(__file__).resolve().parent / "script" / "icon.svg"
"""A file, because an icon by name would be fetched from the network."""
PAGES = (
    Entry("home", "Home", "home", ""),
    Entry("overview", "Overview", "gavel", "The audit"),
    Entry("behaviours", "Behaviours", "checklist", "The audit"),
    Entry("directions", "Directions", "explore", "The audit"),
    Entry("drift", "Drift", "trending_up", "The audit"),
    Entry("diff_map", "Diff map", "scatter_plot", "Inside the models"),
    Entry("feature", "Feature", "lens_blur", "Inside the models"),
    Entry("switches", "Switches", "toggle_off", "Inside the models"),
    Entry("probe", "Text probe", "text_fields", "Inside the models"),
    Entry("training", "Training", "model_training", "Inside the models"),
    Entry("compare", "Compare runs", "compare_arrows", "The record"),
    Entry("findings", "Findings", "flag", "The record"),
    Entry("report", "Report", "description", "The record"),
    Entry("provenance", "Provenance", "fingerprint", "The record"),
)
"""Every page, in the order of the menu; one whose file does not exist is not listed."""


def main(landing: str = "home") -> None:
    """Runs the application once: menu, run picker, the page that the address names.

    Args:
        landing: the page at the root address; the others have their names as addresses.
    """
    st.set_page_config(page_title="Unmask", page_icon=str(ICON), layout="wide")
    listed = {entry: _page(entry, landing) for entry in PAGES if find_spec(_module(entry.name))}
    st.session_state[widgets.PAGES] = {entry.name: page for entry, page in listed.items()}
    menu: dict[str, list[st.Page]] = {}
    for entry, page in listed.items():
        menu.setdefault(entry.section, []).append(page)
    chosen = st.navigation(menu, expanded=True)
    _run_picker()
    try:
        chosen.run()
    except AuditError as error:
        say_error(error)


def _page(entry: Entry, landing: str) -> st.Page:
    return st.Page(
        _body(entry.name),
        title=entry.title,
        icon=f":material/{entry.icon}:",
        url_path=entry.name,
        default=entry.name == landing,
    )


def _body(name: str) -> Callable[[], None]:
    def body() -> None:
        import_module(_module(name)).page()

    return body


def _module(name: str) -> str:
    return f"dashboards.pages.{name}"


def _run_picker() -> None:
    runs = list(given_runs())
    if len(runs) > 1:
        typed("run", runs, runs[0], one_line)
        with st.sidebar:
            st.selectbox("Run", runs, format_func=one_line, key="run", bind="query-params")
