"""Compare runs: two runs side by side, claim by claim."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from audit.errors import AuditError
from dashboards import beside, widgets
from dashboards.charts.beside import claims_figure
from dashboards.runs import given_runs
from dashboards.state import choose, current, say_error, store_of
from dashboards.store import Store
from dashboards.text import plain

ABOUT = "Do two runs say the same, and if not, what was set differently?"
DRAWN = 24
"""Claims that one chart shows."""


def page() -> None:
    """The page."""
    left = current()
    widgets.heading("Compare runs", ABOUT)
    name = _name_of(left)
    others = [other for other in given_runs() if other != name]
    if not others:
        widgets.not_measured("A comparison", "only one run was given: audit dashboard RUN OTHER")
        return
    other = choose("Beside it", "other", others)
    try:
        right = store_of(given_runs()[other])
    except AuditError as error:
        say_error(error)
        return
    st.caption(f"Left: {plain(name)}. Right: {plain(other)}.")
    for store in (left, right):
        widgets.banner(store)
    _compare(left, right, (name, other))


def _compare(left: Store, right: Store, names: tuple[str, str]) -> None:
    _part("Verdicts", beside.verdicts(left, right), "neither run has a verdict")
    _part("Evidence", beside.evidence(left, right), "neither run compares two models")
    widgets.section("Claims", "By id; 'apart' means that the two intervals do not overlap.")
    found = beside.claims(left, right)
    _drawn(left, right, names)
    if found.empty:
        widgets.not_measured("Claims", "neither run has any")
    else:
        widgets.table(found, "claims", alt="Claims of both runs by id, and whether their intervals overlap")
    _part("Settings that differ", beside.differing(left, right), "no setting differs")
    _part("Kinds of latents", beside.kinds(left, right), "neither run has latents")


def _part(title: str, frame: pd.DataFrame, none: str) -> None:
    widgets.section(title)
    if frame.empty:
        st.caption(plain(none))
    else:
        widgets.table(frame, title.lower().replace(" ", "-"), alt=f"{title} of both runs, left and right")


def _drawn(left: Store, right: Store, names: tuple[str, str]) -> None:
    """The claims whose intervals lie apart first, then others that both runs have, as far as they fit."""
    by_id = {claim.id: claim for claim in right.claims}
    pairs = [
        (claim, by_id[claim.id])
        for claim in left.claims
        if claim.id in by_id and isinstance(claim.value, float) and claim.low is not None
    ]
    pairs.sort(key=lambda pair: beside.agreement(*pair) != "apart")
    if pairs:
        shown = pairs[:DRAWN]
        apart = sum(beside.agreement(*pair) == "apart" for pair in pairs)
        widgets.chart(
            claims_figure(shown, names),
            alt=f"{len(shown)} claims that both runs make, with intervals; {apart} of {len(pairs)} lie apart",
            key="claims-chart",
            height=120 + 24 * len(shown),
        )


def _name_of(store: Store) -> str:
    runs = given_runs()
    return next(name for name, path in runs.items() if path.resolve() == store.run.path.resolve())
