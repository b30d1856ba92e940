"""Report: the pages that go into the release folder, to look at and to save."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Literal

import streamlit as st

from audit.evidence.findings import FINDINGS, read_findings
from dashboards import state, widgets
from dashboards.state import typed_number
from dashboards.store import Store, manifest_hash
from dashboards.text import printable
from dashboards.widgets import section

Format = Literal["pdf", "html", "md", "json"]
FORMATS: dict[Format, tuple[str, str, str]] = {
    "pdf": ("PDF", "application/pdf", "PDF/A-3a and PDF/UA-1 with claims.json inside"),
    "html": ("HTML", "text/html", "One page without scripts or links to elsewhere"),
    "md": ("Markdown", "text/markdown", "Plain text with tables"),
    "json": ("JSON", "application/json", "Every section and number as data"),
}
"""Name, media type and what it is, by format."""
DOTS_PER_INCH = 110
ONE_AT_A_TIME = threading.Lock()
"""Setting a report takes seconds of a core and hundreds of megabytes."""


def page() -> None:
    """The page."""
    store = state.current()
    widgets.heading(
        "Report", "What goes into the release folder: every number from claims.json, with its evidence."
    )
    widgets.banner(store)
    key = (str(store.run.path), manifest_hash(store.run.path), read_findings(store.run.path / FINDINGS).head)
    _save(store, key)
    _preview(key)


def _save(store: Store, key: tuple[str, str, str]) -> None:
    section("Save", "The same run and the same findings give the same bytes.")
    with st.container(horizontal=True, gap="small"):
        for kind, (label, media, about) in FORMATS.items():
            st.download_button(
                label, partial(made, *key, kind), file_name=f"{widgets.file_name(store.name)}-report.{kind}",
                mime=media, key=f"save-{kind}", on_click="ignore", icon=":material/download:", help=about,
            )  # fmt: skip
    st.caption("The gate's result is in the report of `audit report RUN --policy policy.toml`.")


def _preview(key: tuple[str, str, str]) -> None:
    section("Preview")
    with st.spinner("Setting the pages"):
        found = pages(*key)
    wanted = typed_number("page", 1, len(found), 1)
    place = int(st.number_input("Page", 1, len(found), wanted, key="page", bind="query-params", width=160))
    st.caption(f"of {len(found)}")
    st.image(found[place - 1], caption=f"page {place} of {len(found)}", width="content")
    with st.expander("The whole report as text"):
        st.code(printable(made(*key, "md").decode(), 400_000), language=None, wrap_lines=True, height=500)


@st.cache_data(max_entries=16, show_spinner=False)
def made(run: str, manifest: str, findings: str, kind: Format) -> bytes:
    """The report's bytes; made again when the hash of the manifest or of the findings is another."""
    from reports.build import content_of
    from reports.ledger import evidence_of

    with ONE_AT_A_TIME:
        return content_of(evidence_of(Path(run)), kind)


@st.cache_data(max_entries=4, show_spinner=False)
def pages(run: str, manifest: str, findings: str) -> list[bytes]:
    """The report's pages as PNG."""
    from reports.content import report_of
    from reports.ledger import evidence_of
    from reports.pdf import pages_of

    with ONE_AT_A_TIME:
        return pages_of(report_of(evidence_of(Path(run)), None), dots_per_inch=DOTS_PER_INCH)
