"""Behaviours: what both models answer, item by item, flips first."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from audit.evidence.schema.results import BehaviourResult, SuiteResult
from dashboards import pick, state, widgets
from dashboards.charts import behaviours as charts
from dashboards.facts import Fact, facts
from dashboards.shape import behaviours as shape
from dashboards.store import Store
from dashboards.text import plain
from dashboards.widgets import estimate, number, section

DRAWN = 20_000
"""Items on the chart: the flips, and the largest changes."""


def page() -> None:
    """The page."""
    store = state.current()
    widgets.heading("Behaviours", "What do both models answer, item by item?")
    widgets.banner(store)
    result: BehaviourResult | None = store.result("behaviour")
    if result is None or not result.suites:
        why = store.why_missing("behaviour") if result is None else "the run has no suite"
        widgets.not_measured("Behaviours", why)
        return
    for warning in result.warnings:
        st.warning(plain(warning))
    suites = {suite.name: suite for suite in result.suites}
    suite = suites[state.choose("Suite", "behaviour", list(suites))]
    _suite(suite)
    _items(store, suite)


def _suite(suite: SuiteResult) -> None:
    primary = suite.primary
    widgets.text(
        f"{suite.title} · {suite.items} items, {suite.entities} entities · SHA-256 {suite.sha256[:16]}"
    )
    flips = primary.flips
    turned = f"{flips.to_not_showing} down, {flips.to_showing} up"
    low = "" if suite.measurable else "too low to carry a verdict"
    facts(
        Fact("Change of b, primary form", primary.change),
        Fact("Lost share", primary.lost_share),
        Fact("Items that changed sides", turned, f"of {flips.items}, McNemar p {flips.p_value:.2g}"),
        Fact("Reliability on the base", suite.reliability, low or "split-half, at least 0.5 is needed"),
    )
    section("Templates", f"The primary form is {suite.primary_template}; effects b in {suite.unit}.")
    frame = shape.templates_frame(suite)
    left, right = st.columns(2)
    height = 140 + 38 * len(frame)
    with left:
        alt = (
            f"Effect b of base and tuned under {len(frame)} forms; primary change {estimate(primary.change)}"
        )
        widgets.chart(charts.forest(frame, suite.null_level), alt=alt, key="forest", height=height)
    with right:
        alt = f"Change of b under {len(frame)} forms over the equivalence band ±{suite.equivalence_band:g}"
        widgets.chart(charts.changes(frame, suite.equivalence_band), alt=alt, key="changes", height=height)
    widgets.table(frame, "templates", alt="Every template and split with its tests")
    _square(suite)
    if suite.metrics:
        with st.expander("Scores of the suite's own kind"):
            metrics = pd.DataFrame({"score": list(suite.metrics), "value": list(suite.metrics.values())})
            widgets.table(metrics, "metrics", alt="Scores of the suite's own kind, per model and condition")


def _square(suite: SuiteResult) -> None:
    with st.expander("Weights x template: what is the weights' doing, and what the template's"):
        st.caption("Along a row the weights differ, along a column the template.")
        split = "test" if any(t.split == "test" for t in suite.templates) else "all"
        widgets.table(shape.two_by_two(suite, split), "square", alt="Effect b by weights and template")


def _items(store: Store, suite: SuiteResult) -> None:
    section("Items", "Flips first, then the largest changes.")
    if not store.has("items"):
        widgets.not_measured("Single items", store.why_no_table("items"))
        return
    templates = store.query("SELECT DISTINCT template FROM items WHERE suite = ? ORDER BY 1", [suite.name])
    forms = [str(value) for value in templates["template"]]
    if not forms:
        widgets.not_measured("Single items", "the table has no item of this suite")
        return
    primary = suite.primary_template if suite.primary_template in forms else forms[0]
    template = pick.one_of("Template", "template", forms, default=primary)
    frame = shape.with_flips(store.query(shape.PAIRED, [suite.name, template]))
    found = _filtered(frame)
    st.caption(f"{len(found):,} of {len(frame):,} items; {(found['flip'] != '').sum():,} flipped.")
    whole = found.dropna(subset=["m_base", "m_tuned"]).head(DRAWN)
    drawn = whole.assign(name=whole["item"])
    alt = f"Score of {len(drawn):,} items, base against tuned, {(drawn['flip'] != '').sum()} flipped"
    widgets.chart(charts.items(drawn, suite.null_level), alt=alt, key="items-chart", height=420)
    chosen = widgets.table(found, "items", alt=alt, select="single-row")
    if chosen:
        _item(found.iloc[chosen[0]])


def _filtered(frame: pd.DataFrame) -> pd.DataFrame:
    choices: dict[str, str] = {}
    cells = st.columns(len(shape.ASIDE) + 2)
    with cells[0]:
        flip = state.choose("Flip", "flip", shape.FLIPS)
    for cell, column in zip(cells[1:], shape.ASIDE, strict=False):
        with cell:
            choices[column] = state.choose(column.capitalize(), column, shape.values_of(frame, column))
    with cells[-1]:
        search = pick.search("Search", "search")
    return shape.chosen_items(frame, choices, flip, search).reset_index(drop=True)


def _item(row: pd.Series) -> None:
    """Everything that the run holds of one item; prompts and continuations stay in the suite."""
    with st.container(border=True):
        widgets.text(f"{row['item']} · {row['entity']} · {row['split']}")
        sides = st.columns(2)
        for cell, side in zip(sides, ("base", "tuned"), strict=True):
            with cell:
                cell.markdown(f"**{side}**")
                widgets.text(
                    f"m {number(row[f'm_{side}'])} = showing {number(row[f'showing_{side}'])} - "
                    f"not showing {number(row[f'not_showing_{side}'])} nats"
                )
                answer = row[f"answer_{side}"]
                if isinstance(answer, str):
                    widgets.text(answer)
        st.caption("The run keeps scores and answers; prompts and continuations are in the suite's file.")
