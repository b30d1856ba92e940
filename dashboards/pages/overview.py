"""Overview: the verdict on each behaviour, what it rests on, and how far the dictionaries can be trusted."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from audit.evidence.schema.results import BehaviourVerdict
from dashboards import ladder, theme, widgets
from dashboards.charts import evidence
from dashboards.records import claims_frame
from dashboards.state import current
from dashboards.store import Store
from dashboards.text import plain

ABOUT = "Did training remove each behaviour, or only hide it, and what says so?"


def page() -> None:
    """The page."""
    store = current()
    widgets.heading("Overview", ABOUT)
    widgets.banner(store)
    _models(store)
    if store.manifest.kind == "compare":
        _compared(store)
    _claims(store)


def _models(store: Store) -> None:
    manifest = store.manifest
    tuned = manifest.tuned.reference if manifest.tuned else "none: this is a run on one model"
    widgets.text(f"base: {manifest.base.reference}\ntuned: {tuned}\nrun: {store.name} ({manifest.kind})")


def _compared(store: Store) -> None:
    found = ladder.rungs(store)
    verdict = store.result("verdict")
    if verdict is None:
        widgets.not_measured("Verdict", store.why_missing("verdict"))
    for one in verdict.behaviours if verdict else []:
        _behaviour(one, ladder.recovered(found, one.name))
    if verdict is not None:
        st.caption(plain(f"Error rates of the verdicts: {verdict.calibration}", 1000))
    if found:
        _ladder(found)
    _health(store)
    _warnings(store)


def _behaviour(verdict: BehaviourVerdict, recovered: list[ladder.Rung]) -> None:
    name, word = verdict.name, verdict.verdict
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(plain(name), anchor=False, width="content")
            st.badge(word, color=theme.VERDICTS[word])
            st.caption(plain(_firmness(verdict), 200))
        left, right = st.columns([5, 6], gap="medium")
        with left:
            _sentences("Because", verdict.reasons)
            _sentences("Missing for a firmer verdict", verdict.missing)
            _sentences("EXTRAPOLATED", verdict.extrapolated)
            widgets.link("behaviours", "Item by item", behaviour=name)
            widgets.link("switches", "Where the switch is", behaviour=name)
        with right:
            widgets.chart(
                evidence.recovered_chart(recovered),
                alt=f"{name}: {evidence.recovered_alt(recovered)}",
                key=f"recovered-{name}",
                height=300,
            )


def _firmness(verdict: BehaviourVerdict) -> str:
    """What kind of verdict it is, and how sure."""
    parts: list[str] = [verdict.detail] if verdict.detail else []
    if verdict.confidence is not None:
        parts.append(f"confidence {verdict.confidence:.2f}")
    elif verdict.margin is not None:
        parts.append(f"margin {verdict.margin:.2f}, confidence not calibrated")
    return ", ".join(parts)


def _sentences(title: str, sentences: list[str]) -> None:
    if sentences:
        st.markdown(f"**{title}**")
        widgets.sentences(sentences)


def _ladder(found: list[ladder.Rung]) -> None:
    widgets.section(
        "Evidence ladder",
        "Rows go from the outside to the inside; cells are value [95 % interval], with the null beside it.",
    )
    widgets.table(
        ladder.matrix(found),
        "ladder",
        alt="Evidence as rows, behaviours as columns, each cell a number with its interval or not measured",
        height="content",
        columns={"evidence": st.column_config.TextColumn(pinned=True)},
    )


def _health(store: Store) -> None:
    widgets.section(
        "Dictionary health",
        "What the latents explain of each model's activations; on poor dictionaries, no latent means much.",
    )
    frame = ladder.health(store)
    if frame.empty:
        widgets.not_measured("Dictionary health", store.why_missing("features"))
        return
    shares = [name for name in frame.columns if "FVE" in name or "recovered" in name or "share" in name]
    formats = {name: st.column_config.NumberColumn(format="percent") for name in shares}
    widgets.table(
        frame, "health", alt="One row per hook point: FVE, L0, dead share, loss recovered", columns=formats
    )


def _warnings(store: Store) -> None:
    frame = ladder.warnings(store)
    widgets.section("Warnings", "What the stages warned of, and what they could not measure.")
    if frame.empty:
        st.caption("No stage warned of anything.")
    else:
        widgets.sentences([f"{stage}: {said}" for stage, said in frame.itertuples(index=False)])
        widgets.downloads(frame, "warnings", "warnings")


def _claims(store: Store) -> None:
    widgets.section("Claims", "Every sentence that a report may print, with its number and its evidence.")
    frame = claims_frame(store)
    if frame.empty:
        widgets.not_measured("Claims", "the run was not finished, or its ledger cannot be read")
        return
    widgets.table(frame, "claims", alt=_claims_alt(frame), height=420)


def _claims_alt(frame: pd.DataFrame) -> str:
    return f"{len(frame)} claims, one row each: id, statement, value, interval, n, test, null"
