"""Findings: what reviewers saw, on which evidence, and who signed it off; nothing is ever overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from audit.errors import AuditError
from audit.evidence.findings import (
    FINDINGS,
    SEVERITIES,
    Action,
    Findings,
    FindingState,
    Severity,
    append_finding,
    check_chain,
    read_findings,
)
from dashboards import state, widgets
from dashboards.shape import findings as shape
from dashboards.store import Store
from dashboards.text import one_line, plain
from dashboards.widgets import section

COLOURS: dict[Severity, Any] = {
    "info": "gray", "low": "blue", "medium": "orange", "high": "red", "critical": "violet",
}  # fmt: skip
MOST_CLAIMS = 2000
"""Claims offered by name; of a larger ledger the others can be typed."""
MOST_CARDS = 100
LONG = 100
"""Characters of a note that fit into a row of the history; longer ones stand below it, too."""
SAID, SEEN = "_said", "_seen"
ASK: dict[str, tuple[Action, str]] = {
    "Add a note": ("noted", "What is to be added; a new severity, if it changes"),
    "Sign off": ("signed off", "What was checked, and why it can stand"),
    "Withdraw": ("withdrawn", "Why it does not stand; it stays visible"),
}
"""Buttons below a finding: the action, and what the note should say."""


def page() -> None:
    """The page."""
    store = state.current()
    widgets.heading("Findings", "What did reviewers see, on which evidence, and who signed it off?")
    widgets.banner(store)
    log = _log(store)
    findings = read_findings(log)
    broken = check_chain(log)
    if broken:
        st.error("The log was changed after it was written.")
        widgets.sentences(broken)
    _said()
    chosen = state.typed("finding", list(findings.current), "")
    _open_form(store, log)
    _board(findings)
    if chosen:
        _finding(store, log, findings.current[chosen])
    with st.expander(f"All {len(findings.current)} finding(s) as a table"):
        frame = shape.board(findings.current)
        widgets.table(frame, "findings", alt=f"{len(frame)} findings with status, severity and signatures")
        st.caption("The log's head, to be kept where its authors cannot write:")
        st.code(findings.head, language=None)


def _log(store: Store) -> Path:
    return store.run.path / FINDINGS


def _board(findings: Findings) -> None:
    if not findings.current:
        st.caption("Nobody has opened a finding yet.")
        return
    columns = st.columns(len(shape.BOARD))
    for column, (status, label) in zip(columns, shape.BOARD.items(), strict=True):
        of_status = [found for found in findings.current.values() if found.status == status]
        of_status.sort(key=lambda found: SEVERITIES.index(found.severity), reverse=True)
        with column:
            section(f"{label} ({len(of_status)})")
            for found in of_status[:MOST_CARDS]:
                _card(found)
            if len(of_status) > MOST_CARDS:
                st.caption(f"and {len(of_status) - MOST_CARDS} more in the table below")


def _card(found: FindingState) -> None:
    with st.container(border=True):
        st.badge(found.severity, color=COLOURS[found.severity])
        widgets.text(f"{found.finding}: {found.title}")
        signed = ", ".join(entry.reviewer for entry in found.signatures)
        widgets.text(f"signed by {signed}" if signed else f"opened by {found.entries[0].reviewer}")
        widgets.link("findings", f"Look at {found.finding}", finding=found.finding)


def _finding(store: Store, log: Path, found: FindingState) -> None:
    with st.container(border=True):
        section(f"{found.finding}: {found.title}")
        st.badge(f"{found.severity}, {found.status}", color=COLOURS[found.severity])
        rows = shape.history(found)
        widgets.table(rows, "history", alt=f"{len(rows)} entries about this finding, the oldest first")
        for entry in found.entries:
            if len(entry.note) > LONG or "\n" in entry.note:
                st.caption(plain(f"{entry.reviewer}, {entry.at}"))
                widgets.text(entry.note)
        _evidence(store, found)
        if found.status == "withdrawn":
            st.caption("It was withdrawn: open a new finding to say more.")
        else:
            _answer_form(store, log, found)


def _evidence(store: Store, found: FindingState) -> None:
    hooks, claims = _hooks(store), {claim.id: claim for claim in store.claims}
    for address in found.evidence:
        feature = shape.feature_address(address, hooks)
        if address in claims:
            widgets.text(f"{address}: {claims[address].statement}")
        elif feature is not None:
            widgets.link("feature", address, hook=feature.hook, latent=feature.latent)
        else:
            widgets.text(f"{address}: not in this run")


def _open_form(store: Store, log: Path) -> None:
    wanted = st.query_params.get_all("evidence")
    with st.expander("Open a finding", expanded=bool(wanted), icon=":material/add:"):
        with st.form("open", border=False):
            cells = st.columns([3, 1])
            title = cells[0].text_input("Title", max_chars=200, key="open-title")
            severity = cells[1].selectbox("Severity", SEVERITIES, index=2, key="open-severity")
            evidence = _evidence_box(store, "open-evidence", wanted)
            note = st.text_area("Note", max_chars=10_000, key="open-note")
            reviewer = _reviewer_box("open-reviewer")
            sent = st.form_submit_button("Open this finding", icon=":material/flag:")
        if sent:
            entry = {"severity": severity, "title": title.strip(), "note": note, "evidence": evidence}
            _write(store, log, {"action": "opened", "reviewer": reviewer.strip(), **entry})


def _answer_form(store: Store, log: Path, found: FindingState) -> None:
    known = st.session_state.setdefault(SEEN, {})
    key = f"{log} {found.finding}"
    seen = known.setdefault(key, len(found.entries))
    labels = list(ASK)
    with st.form("answer"):
        asked = str(st.radio("What to do", labels, horizontal=True, key="answer-action"))
        cells = st.columns([3, 1])
        reviewer = _reviewer_box("answer-reviewer", cells[0])
        place = SEVERITIES.index(found.severity)
        severity = cells[1].selectbox("Severity", SEVERITIES, index=place, key="answer-severity")
        note = st.text_area(
            "Note",
            max_chars=10_000,
            key="answer-note",
            help="\n\n".join(f"{k}: {v[1]}" for k, v in ASK.items()),
        )
        evidence = _evidence_box(store, "answer-evidence", [])
        sent = st.form_submit_button("Write it to the log", icon=":material/edit_note:")
    if not sent:
        known[key] = len(found.entries)
        return
    if len(found.entries) != seen:
        known[key] = len(found.entries)
        st.warning("Somebody wrote about this finding meanwhile. Nothing was written: look, then send again.")
        return
    entry = {"finding": found.finding, "severity": severity, "note": note, "evidence": evidence}
    known.pop(key)
    _write(store, log, {"action": ASK[asked][0], "reviewer": reviewer.strip(), **entry})


def _evidence_box(store: Store, key: str, wanted: list[str]) -> list[str]:
    statements = {claim.id: claim.statement for claim in store.claims[:MOST_CLAIMS]}
    options = list(dict.fromkeys([*wanted[:20], *statements]))
    said = {name: f"{name} · {statement}" for name, statement in statements.items()}
    chosen = st.multiselect(
        "Evidence", options, default=wanted[:20], key=key, accept_new_options=True, max_selections=50,
        format_func=lambda name: one_line(said.get(name, name), 140),
        help="Claims of this run, or the address HOOK/LATENT of a feature",
    )  # fmt: skip
    return [str(name) for name in chosen]


def _reviewer_box(key: str, place: Any = st) -> str:
    name = str(
        place.text_input("Reviewer", value=st.session_state.get("_reviewer", ""), max_chars=100, key=key)
    )
    st.session_state["_reviewer"] = name
    return name


def _write(store: Store, log: Path, entry: dict[str, Any]) -> None:
    unknown = shape.strangers(entry["evidence"], store.claims, _hooks(store))
    if unknown:
        st.error("This evidence is neither a claim nor a feature of this run. Nothing was written.")
        widgets.sentences(unknown)
        return
    try:
        written = append_finding(log, entry)
    except AuditError as error:
        state.say_error(error)
        return
    st.session_state[SAID] = f"{written.finding}: {written.action} by {written.reviewer}"
    for name in ("open-title", "open-note", "open-evidence", "answer-note", "answer-evidence"):
        st.session_state.pop(name, None)
    st.query_params["finding"] = written.finding
    st.rerun()


def _said() -> None:
    said = st.session_state.pop(SAID, None)
    if said:
        st.success(plain(said), icon=":material/check:")


def _hooks(store: Store) -> list[str]:
    result = store.result("features")
    return [found.hook for found in result.hooks] if result is not None else []
