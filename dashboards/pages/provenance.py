"""Provenance: what was run, on what, with what; and whether the folder still says so."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from audit.evidence.run import CONFIG
from audit.evidence.verify import Verification, verify_run
from dashboards import state, widgets
from dashboards.facts import Fact, facts
from dashboards.records import stages_frame
from dashboards.shape import provenance as shape
from dashboards.store import LARGEST_JSON, Store
from dashboards.text import printable
from dashboards.widgets import section


def page() -> None:
    """The page."""
    store = state.current()
    widgets.heading("Provenance", "What was run, on what, with what; and does the folder still say so?")
    widgets.banner(store)
    _identity(store)
    _verification(store)
    _models(store)
    section("Stages")
    widgets.table(stages_frame(store), "stages", alt="Every stage, how it ended, seconds and memory")
    section("Files", "As the stages listed them when they ended; the button above recomputes every hash.")
    files = shape.artefacts(store)
    widgets.table(files, "artefacts", alt=f"{len(files)} files of the run with sizes and hashes")
    _settings(store)
    _again(store)


def _identity(store: Store) -> None:
    manifest = store.manifest
    git = manifest.git
    state_of_git = "not from a checkout" if git is None else git.commit[:12]
    facts(
        Fact("Kind", f"audit {manifest.kind}", manifest.created),
        Fact("Version", manifest.version, f"format {manifest.format}"),
        Fact("Git", state_of_git, "with uncommitted changes" if git is not None and git.dirty else ""),
        Fact("Computed in", manifest.dtype, f"on {manifest.device}, seed {manifest.seed}"),
    )
    widgets.text(f"sources SHA-256 {manifest.code}")


def _verification(store: Store) -> None:
    section("Verify", "Recomputes every hash and looks up every claimed number.")
    key = f"verified {store.run.path}"
    if st.button("Verify now", icon=":material/verified_user:", key="verify"):
        with st.spinner("Recomputing hashes"):
            st.session_state[key] = verify_run(store.run)
    found: Verification | None = st.session_state.get(key)
    if found is None:
        st.caption("Not verified in this session.")
    elif found.passed:
        st.success(f"{found.files} files and {found.claims} claims are as they were written.")
        widgets.text(
            f"manifest SHA-256, to be kept elsewhere, since a forgery can be consistent: {found.manifest}"
        )
    else:
        st.error(f"{len(found.problems)} problem(s).")
        widgets.sentences(found.problems)


def _models(store: Store) -> None:
    section("Models")
    records = {"base": store.manifest.base, "tuned": store.manifest.tuned}
    said = {side: shape.model_facts(record) for side, record in records.items() if record is not None}
    rows = pd.DataFrame(said).rename_axis("what").reset_index()
    widgets.table(rows, "models", alt="What the manifest says of each model")
    files = shape.model_rows(store.manifest)
    widgets.table(files, "model-files", alt=f"{len(files)} files of the models with SHA-256")


def _settings(store: Store) -> None:
    section("Settings and data")
    left, right = st.columns(2)
    manifest = store.manifest
    with left:
        rows = pd.DataFrame({"data": list(manifest.data), "sha256": list(manifest.data.values())})
        widgets.table(rows, "data", alt="Suites and data files with SHA-256")
        path = store.file(CONFIG)
        if path is None or path.stat().st_size > LARGEST_JSON:
            widgets.not_measured(CONFIG, "it is missing, too large, or leads out of the run folder")
        else:
            shown = printable(path.read_text(encoding="utf-8", errors="replace"), 20_000)
            st.code(shown, language="toml", height=300)
    with right:
        rows = pd.DataFrame({"package": list(manifest.versions), "version": list(manifest.versions.values())})
        widgets.table(rows, "versions", alt="Versions of the packages that ran")


def _again(store: Store) -> None:
    section("Run it again", "Text to read before it is typed: a run folder may come from anybody.")
    manifest = store.manifest
    st.code(printable(shape.command_text(manifest), 4000), language=None, wrap_lines=True)
    widgets.text(
        f"with version {manifest.version} of this package, the models and data above (same SHA-256): numbers "
        f"agree exactly on the same device with the same versions ({manifest.dtype} on {manifest.device})"
    )
