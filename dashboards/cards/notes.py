"""The card's last part: what reviewers said of the latent, and a place to say it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from audit.errors import AuditError
from audit.evidence.findings import FINDINGS, SEVERITIES, Finding, append_finding, read_findings
from dashboards import widgets
from dashboards.state import say_error
from dashboards.store import Store

COLUMNS = ["finding", "at", "reviewer", "action", "severity", "title", "note"]


def notes(store: Store, card: dict[str, Any]) -> None:
    """What was said of this latent, and a form that adds to the run's findings log."""
    widgets.section("Notes", "Kept in the run's findings log: lines are added, never changed.")
    address = f"{card['hook']}/{card['latent']}"
    try:
        found = about(list(read_findings(store.run.path / FINDINGS).entries), address)
    except AuditError as error:
        say_error(error)
        return
    if found.empty:
        st.caption("Nobody has said anything of this latent yet.")
    else:
        widgets.table(found, "notes", alt="What reviewers said of this latent, oldest first")
    _form(store, address)


def about(entries: list[Finding], address: str) -> pd.DataFrame:
    """The lines that name this latent as evidence, and the later ones on the same findings."""
    named = {entry.finding for entry in entries if address in entry.evidence}
    rows = [[getattr(entry, name) for name in COLUMNS] for entry in entries if entry.finding in named]
    return pd.DataFrame(rows, columns=COLUMNS)


def _form(store: Store, address: str) -> None:
    with st.expander("Open a finding on this latent", icon=":material/add_notes:"), st.form("note"):
        reviewer = st.text_input("Reviewer", max_chars=100)
        title = st.text_input("Title", max_chars=200)
        severity = st.selectbox("Severity", SEVERITIES)
        note = st.text_area("Note", max_chars=10_000)
        if st.form_submit_button("Add to the log"):
            _add(store, reviewer, title, severity, note, address)


def _add(store: Store, reviewer: str, title: str, severity: str, note: str, address: str) -> None:
    fields = {
        "action": "opened", "reviewer": reviewer, "title": title, "severity": severity, "note": note,
        "evidence": [address],
    }  # fmt: skip
    try:
        written: Finding = append_finding(store.run.path / FINDINGS, fields)
    except AuditError as error:
        say_error(error)
        return
    st.success(f"Added as {written.finding}.")
    widgets.link("findings", "All findings")
