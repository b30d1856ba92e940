"""Directions: is the knowledge still inside the tuned model, and does asking differently bring it out?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from audit.evidence.schema.results import ConceptDirections, SuiteElicitation
from dashboards import pick, state, widgets
from dashboards.charts import directions as charts
from dashboards.facts import Fact, facts
from dashboards.shape.directions import with_ways
from dashboards.store import Store
from dashboards.widgets import estimate, number, section

CHANCE = {True: "yes", False: "no", None: "not measured"}


def page() -> None:
    """The page."""
    store = state.current()
    widgets.heading(
        "Directions",
        "Is the knowledge still inside the tuned model, and does asking differently bring it out?",
    )
    widgets.banner(store)
    known, asked = store.result("directions"), store.result("elicit")
    names = [c.suite for c in known.concepts] if known else []
    names = list(dict.fromkeys([*names, *([s.suite for s in asked.suites] if asked else [])]))
    if not names:
        widgets.not_measured("Whether the knowledge is there", store.why_missing("directions"))
        widgets.not_measured("Whether asking differently brings it out", store.why_missing("elicit"))
        return
    name = state.choose("Behaviour", "behaviour", names)
    _probes(store, name)
    _elicited(store, name)


def _probes(store: Store, name: str) -> None:
    section("Probes and directions", "Read on entities that no probe was fit on, against shuffled classes.")
    result = store.result("directions")
    found = next((c for c in result.concepts if c.suite == name), None) if result else None
    if found is None or found.unreadable or not store.has("directions"):
        why = store.why_missing("directions") if result is None else found and found.unreadable
        widgets.not_measured("Whether the knowledge is there", why or "this behaviour has no concept")
        return
    _facts(found)
    frame = store.frame("directions", where="suite = ?", parameters=[name], order="position, layer")
    positions = list(dict.fromkeys(frame["position"].astype(str)))
    if not positions:
        widgets.not_measured("Probes", "the table has no rows for this behaviour")
        return
    position = pick.one_of("Token that is read", "position", positions)
    _charts(frame[frame["position"] == position])
    widgets.table(frame, "directions", alt=f"{len(frame)} layers and positions with every probe")


def _facts(found: ConceptDirections) -> None:
    said = f"{found.label_a or '?'} against {found.label_b or '?'}"
    widgets.text(
        f"{found.concept or 'no concept'}: {said}; {found.texts} texts, "
        f"{found.entities_train} entities to fit on, {found.entities_test} held out"
    )
    highest = "largest AUC over all layers, positions and probes; null: the same under shuffled classes"
    facts(
        Fact("Decodable in the tuned model", found.decodable),
        Fact("Decodable in the base", found.base_decodable),
        Fact("Highest AUC, tuned", found.highest_auc_tuned, f"null {number(found.highest_null)}", highest),
        Fact("At chance everywhere", CHANCE[found.everywhere_at_chance], "in the tuned model"),
    )
    if found.chosen is not None:
        cell = found.chosen
        words = f"{estimate(cell.auc_base)} in the base, {estimate(cell.auc_tuned)} in the tuned model"
        widgets.text(f"chosen by the base's train entities: block {cell.layer}, {cell.position}; AUC {words}")


def _charts(part: pd.DataFrame) -> None:
    highest = number(part["auc_tuned"].max() if len(part) else None)
    alt = f"AUC by layer of base, tuned, transfer and MLP probes against the null; highest tuned {highest}"
    widgets.chart(charts.auc(part), alt=alt, key="auc", height=420)
    left, right = st.columns(2)
    unsure = int((~part["measurable"]).sum())
    with left:
        alt = f"Cosine of the two directions by layer under its ceiling; not measurable at {unsure} layers"
        widgets.chart(charts.cosine(part), alt=alt, key="cosine")
    with right:
        alt = "Norm of the tuned direction over the base's by layer"
        widgets.chart(charts.norm_ratio(part), alt=alt, key="norm-ratio")
    st.caption(
        "The ceiling is what equal directions would reach if the models were read on different entities; the "
        "cosine shares its entities and their noise, so it may lie above. Diamonds have noise divided out: "
        "about 1 for equal directions. Downstream of a switch directions need not agree."
    )


def _elicited(store: Store, name: str) -> None:
    section("Asking again", "Prompts, samples and extrapolation: what a black-box tester would get back.")
    result = store.result("elicit")
    found: SuiteElicitation | None
    found = next((s for s in result.suites if s.suite == name), None) if result else None
    if found is None or found.not_tried or not store.has("elicitation"):
        why = store.why_missing("elicit") if result is None else found and found.not_tried
        widgets.not_measured("Whether asking differently brings it out", why or "it was not asked here")
        return
    frame = with_ways(store.frame("elicitation", where="suite = ?", parameters=[name]))
    best = found.best
    facts(
        Fact("Asking differently brings it back", found.brings_back),
        Fact("Best prompt gives back", best and best.recovered),
        Fact("Items asked", f"{found.items}", f"{found.entities} entities, {found.form}"),
    )
    controls = int(frame["is_control"].sum())
    alt = f"{len(frame)} ways of asking the tuned model again, {controls} of them controls"
    widgets.chart(charts.arms(frame), alt=alt, key="arms", height=120 + 32 * min(len(frame), 20))
    st.caption("Temperatures and extrapolated logits are shown and do not count as bringing it back.")
    widgets.table(frame, "elicitation", alt=f"{len(frame)} arms with both models' effects")
    if found.skipped:
        widgets.text("\n".join(f"· not asked: {sentence}" for sentence in found.skipped))
