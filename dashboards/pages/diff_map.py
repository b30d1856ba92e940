"""Diff map: all latents at once, by what training did to them; a box around some of them lists them."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from dashboards import latents, theme, widgets
from dashboards.charts.latents import map_alt, map_figure
from dashboards.latents import AXES, Axis, Chosen
from dashboards.state import choose, current, typed_all, typed_float
from dashboards.store import Store

ABOUT = "Which latents did training change? Draw a box around points to list them; a row opens its card."
HEIGHT = 560
STRONGEST = 500
"""Rows of the table while nothing is selected."""
ROWS = "Strongest change first; choose a row to open its card."


def page() -> None:
    """The page."""
    store = current()
    widgets.heading("Diff map", ABOUT)
    widgets.banner(store)
    if not store.has("features"):
        widgets.not_measured("Latents", f"{store.why_no_table('features')}; {store.why_missing('features')}")
        return
    hook = choose("Hook point", "hook", latents.hooks(store))
    _map_and_table(store, hook)


@st.fragment
def _map_and_table(store: Store, hook: str) -> None:
    """Map, filters and table; only they run again when something is selected."""
    first, second, third, fourth = st.columns([3, 3, 4, 3])
    with first:
        x = choose("Across", "x", list(AXES), default="rate base")
    with second:
        y = choose("Up", "y", list(AXES), default="rate tuned")
    with third:
        kinds = _kinds()
    with fourth:
        typed_float("q", 0, 1)
        most_q = st.slider(
            "Largest q-value", 0.0, 1.0, 1.0, 0.01, key="q", bind="query-params",
            help="1 shows all latents, also those without a q-value",
        )  # fmt: skip
    across, up = AXES[x], AXES[y]
    chosen = Chosen(hook, tuple(kinds), most_q, *_ranges())
    points = latents.points(store, chosen, across, up)
    bar = latents.null_score(store, hook)
    places = widgets.chart(
        map_figure(points, across, up, bar if x == "score" else None, bar if y == "score" else None),
        alt=map_alt(points, across, up),
        key="map " + " ".join(map(str, (hook, x, y, *kinds, most_q, chosen.x, chosen.y))),
        height=HEIGHT,
        select=("box", "lasso", "points"),
    )
    _left_out(store, hook, len(points))
    inside = [place for place in places if place < len(points)]
    if inside:
        _selected(store, hook, points["latent"].iloc[inside].tolist())
    else:
        _strongest(store, chosen, across, up, len(points))


def _kinds() -> list[str]:
    """The kinds to show; all where none is chosen."""
    typed_all("kind", list(theme.KINDS))
    chosen = st.multiselect(
        "Kinds", list(theme.KINDS), key="kind", bind="query-params", placeholder="all kinds"
    )
    return chosen or list(theme.KINDS)


def _ranges() -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Ranges typed in: the same as a box, without a mouse."""
    with st.expander("Choose by numbers instead of a box", icon=":material/keyboard:"):
        columns = st.columns(4)
        labels = [("across", "from"), ("across", "to"), ("up", "from"), ("up", "to")]
        ends = [
            column.number_input(f"{axis}, {end}", value=None, format="%f", key=f"{axis}-{end}")
            for column, (axis, end) in zip(columns, labels, strict=True)
        ]
    return _range(ends[0], ends[1]), _range(ends[2], ends[3])


def _range(low: float | None, high: float | None) -> tuple[float, float] | None:
    if low is None and high is None:
        return None
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _left_out(store: Store, hook: str, shown: int) -> None:
    every = store.count("features", "hook = ?", [hook])
    if shown < every:
        st.caption(
            f"{shown:,} of {every:,} latents; the others are filtered out, or one of the two numbers "
            "is not defined for them, or is 0 on a logarithmic axis."
        )


def _selected(store: Store, hook: str, chosen: list[int]) -> None:
    widgets.section(f"{len(chosen):,} latents in the box", ROWS)
    _table(latents.rows(store, hook, chosen), hook)


def _strongest(store: Store, chosen: Chosen, across: Axis, up: Axis, shown: int) -> None:
    frame = latents.strongest(store, chosen, across, up, STRONGEST)
    widgets.section(f"The {len(frame):,} strongest of {shown:,} latents", ROWS)
    _table(frame, chosen.hook)
    widgets.downloads(
        lambda: latents.strongest(store, chosen, across, up), "all-latents", "latents", "All of the map,"
    )


def _table(frame: pd.DataFrame, hook: str) -> None:
    chosen = widgets.table(
        frame, "latents", alt="One row per latent: kind, score, rates, norms, scaling", select="single-row"
    )
    if chosen:
        latent = int(frame["latent"].iloc[chosen[0]])
        widgets.link("feature", f"Open the card of latent {latent}", hook=hook, latent=latent)
