"""Home: which runs were given, whether they are whole, and what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from audit.errors import AuditError, RunFolderError
from dashboards import widgets
from dashboards.records import RUN, run_row, stages_frame
from dashboards.runs import given_runs
from dashboards.state import current, say_error, store_of
from dashboards.store import Store, manifest_hash
from dashboards.text import one_line, plain

VERIFYING = 600
"""Seconds that a verification may take before it is given up."""


def page() -> None:
    """The page."""
    widgets.heading("Unmask", "Did training remove the behaviour, or only hide it?")
    runs = given_runs()
    if runs:
        _runs(runs)
    store = current()
    st.divider()
    widgets.section(f"Run {store.name}")
    widgets.banner(store)
    _links()
    _stages(store)
    _verification(store)


def _runs(runs: dict[str, Path]) -> None:
    frame = pd.DataFrame([run_row(name, _opened(path)) for name, path in runs.items()], columns=RUN)
    widgets.section("Runs", "All runs that this dashboard was started on.")
    chosen = widgets.table(frame, "runs", alt="One row per run: kind, models, health", select="single-row")
    if chosen:
        name = one_line(frame["run"].iloc[chosen[0]])
        widgets.link("overview", f"Open {name}", run=name)


def _opened(path: Path) -> Store | AuditError:
    try:
        return store_of(path)
    except AuditError as error:
        return error


def _links() -> None:
    with st.container(horizontal=True):
        for page_name, label in (
            ("overview", "Verdicts and evidence"),
            ("diff_map", "Map of the latents"),
            ("findings", "Findings"),
            ("provenance", "Provenance"),
        ):
            widgets.link(page_name, label)


def _stages(store: Store) -> None:
    frame = stages_frame(store)
    left_out = int((frame["status"] != "done").sum())
    widgets.section(
        "Stages", f"{len(frame) - left_out} done, {left_out} not: what was not done has a reason."
    )
    widgets.table(frame, "stages", alt="One row per stage: its status, how long it took, why it is missing")


def _verification(store: Store) -> None:
    widgets.section(
        "Verification", "Recomputes every hash and looks every claimed number up in its evidence."
    )
    if not st.button("Verify this run", icon=":material/verified:"):
        st.caption(
            plain("Not verified in this session: it reads every file of the run, which may take long.")
        )
        return
    try:
        with st.spinner("Verifying"):
            found = _verified(str(store.run.path), manifest_hash(store.run.path))
    except AuditError as error:
        say_error(error)
        return
    _say(found)


def _say(found: dict[str, Any]) -> None:
    if found.get("passed"):
        st.success(f"{found['files']} files and {found['claims']} claims are as they were written.")
        st.caption("SHA-256 of the manifest; keep it where the run's author cannot write:")
        st.code(str(found["manifest"]), language=None)
    else:
        st.error(f"Not verified: {len(found.get('problems', []))} problem(s).")
        problems = pd.DataFrame({"problem": found.get("problems", [])})
        widgets.table(problems, "problems", alt="What is wrong, one row each")


@st.cache_data(show_spinner=False, max_entries=8)
def _verified(path: str, _manifest: str) -> dict[str, Any]:
    """What `audit verify` says; in a process of its own, since it reads whole tables into memory."""
    command = [sys.executable, "-m", "audit", "verify", path, "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=VERIFYING, check=False)  # noqa: S603
        found: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise RunFolderError(
            "The run could not be verified.", where=path, fix="run `audit verify` on it in a terminal"
        ) from error
    if "error" in found:
        raise RunFolderError(
            found["error"]["problem"], where=found["error"]["where"], fix=found["error"]["fix"]
        )
    return found
