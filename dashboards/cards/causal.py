"""The card's causal part: what the latent does to the behaviours, and which latents point the same way."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from audit.errors import RunFolderError
from dashboards import latents, widgets
from dashboards.charts.latents import effects_figure
from dashboards.neighbours import SMALL, Stored, neighbours, stored_dictionary
from dashboards.state import say_error
from dashboards.store import Store
from dashboards.text import plain

DOSES = [
    "behaviour",
    "intervention",
    "set",
    "description",
    "size",
    "dose",
    "recovered",
    "low",
    "high",
    "is_null",
]


def effects(store: Store, card: dict[str, Any]) -> None:
    """Effect of its write on each behaviour that changed, its control, and the interventions on latents."""
    widgets.section("Causal effect", "What it adds to a behaviour's score in each model, and against what.")
    found = latents.of_latent(store, "latent_effects", card["hook"], card["latent"], "abs(difference) DESC")
    if found.empty:
        widgets.not_measured("Effect on a behaviour", _why(store))
    else:
        _measured(store, found)
    _interventions(store, card)


def _measured(store: Store, found: pd.DataFrame) -> None:
    widgets.chart(
        effects_figure(found),
        alt="; ".join(
            f"{row.behaviour}: base {row.effect_base:.4g}, tuned {row.effect_tuned:.4g}"
            for row in found.itertuples()
        ),
        key="effects",
        height=120 + 60 * len(found),
    )
    shown = found[["behaviour", "effect_base", "effect_tuned", "difference", "low", "high", "q_value"]].copy()
    shown["larger than"] = [
        f"{latents.rank_among(store, str(behaviour), float(difference)):.1%} of all latents"
        for behaviour, difference in zip(found["behaviour"], found["difference"], strict=True)
    ]
    widgets.table(
        shown, "effects-table", alt="Effects on behaviours with intervals and q-values", height="content"
    )
    st.caption("The control: the change of every other latent of the run on the same behaviour.")


def _why(store: Store) -> str:
    if not store.has("latent_effects"):
        return store.why_no_table("latent_effects")
    result = store.result("features")
    on = ", ".join(result.effects_on) if result and result.effects_on else "no behaviour"
    return f"effects were measured on {on}; this latent was silent there, or none was asked for"


def _interventions(store: Store, card: dict[str, Any]) -> None:
    """Interventions that took latents of this hook point out of the tuned model, beside their controls."""
    if not store.has("doses"):
        widgets.not_measured("Intervention on latents", store.why_no_table("doses"))
        return
    where = "intervention = 'latents' AND contains(\"set\", ?) AND split = 'test'"
    found = store.frame(
        "doses", DOSES, where, [card["hook"]], order="behaviour, set, is_null, dose", limit=500
    )
    if found.empty:
        widgets.not_measured("Intervention on latents", "no set of latents of this hook point was taken out")
        return
    widgets.table(
        found, "latent-doses", alt="Sets of latents taken out of the tuned model, with their random controls"
    )


def nearest(store: Store, card: dict[str, Any]) -> None:
    """Latents whose decoder rows point the same way, in each model."""
    widgets.section("Neighbours", "Latents whose decoder rows point the same way, in each model.")
    stored = stored_dictionary(store, card["hook"])
    preflight = store.result("preflight")
    if stored is None or preflight is None:
        why = "the dictionary is not stored in the run" if stored is None else store.why_missing("preflight")
        widgets.not_measured("Neighbours", why)
        return
    if stored.size > SMALL and not st.button("Search the dictionary", icon=":material/search:"):
        st.caption(f"It has {stored.size / 2**30:.1f} GiB: searching takes a while.")
        return
    try:
        _beside(store, card, _searched(stored, card["latent"], preflight.width))
    except RunFolderError as error:
        say_error(error)


def _beside(store: Store, card: dict[str, Any], found: pd.DataFrame) -> None:
    kinds = latents.rows(store, card["hook"], found["latent"].tolist())[["latent", "kind", "label"]]
    frame = found.merge(kinds, on="latent", how="left")
    chosen = widgets.table(
        frame,
        "neighbours",
        alt="The nearest decoder rows in each model, with their cosine",
        select="single-row",
    )
    if chosen:
        other = int(frame["latent"].iloc[chosen[0]])
        widgets.link("feature", f"Open latent {other}", hook=card["hook"], latent=other)
    recurs = widgets.number(card["seed_recurrence"], ".0%")
    st.caption(plain(f"In dictionaries of other seeds it reappears: {recurs} of them."))


@st.cache_data(show_spinner="Searching the dictionary", max_entries=64)
def _searched(stored: Stored, latent: int, width: int) -> pd.DataFrame:
    return neighbours(stored.path, latent, width)
