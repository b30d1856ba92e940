"""Feature: the paired card of one latent, from its numbers to its texts, neighbours and effect."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboards import latents, widgets
from dashboards.cards import causal, identity, notes, texts
from dashboards.state import choose, current, typed_number
from dashboards.store import Store

ABOUT = "What is this latent, in the base and in the tuned model, and does it do anything?"


def page() -> None:
    """The page."""
    store = current()
    widgets.heading("Feature", ABOUT)
    widgets.banner(store)
    if not store.has("features"):
        widgets.not_measured("Latents", f"{store.why_no_table('features')}; {store.why_missing('features')}")
        return
    hook = choose("Hook point", "hook", latents.hooks(store))
    latent = _latent(store, hook)
    card = latents.card(store, hook, latent)
    if card is None:
        widgets.not_measured(f"Latent {latent} of {hook}", "the table has no such row")
        return
    _card(store, card)


def _card(store: Store, card: dict[str, Any]) -> None:
    windows = texts.stored(store, card)
    identity.verdict(store, card)
    left, right = st.columns(2, gap="large")
    with left:
        identity.rates(store, card)
    with right:
        texts.histogram(windows)
    texts.logits(store, card)
    texts.examples(store, card, windows)
    left, right = st.columns(2, gap="large")
    with left:
        causal.effects(store, card)
    with right:
        causal.nearest(store, card)
    notes.notes(store, card)
    identity.identity(store, card)


def _latent(store: Store, hook: str) -> int:
    """The chosen latent, with links to the ones beside it and to the described ones around it."""
    last = latents.last_latent(store, hook)
    described = latents.described(store, hook)
    first = described[0] if described else 0
    typed_number("latent", 0, last, first)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        latent = int(
            st.number_input(
                "Latent", 0, last, first, key="latent", bind="query-params", width=160,
                help=f"0 to {last}; {len(described)} of them have texts",
            )
        )  # fmt: skip
        earlier = [n for n in described if n < latent]
        later = [n for n in described if n > latent]
        if latent > 0:
            widgets.link("feature", f"← {latent - 1}", hook=hook, latent=latent - 1, help="previous latent")
        if latent < last:
            widgets.link("feature", f"{latent + 1} →", hook=hook, latent=latent + 1, help="next latent")
        if earlier:
            widgets.link(
                "feature", f"⇤ {earlier[-1]}", hook=hook, latent=earlier[-1], help="previous with texts"
            )
        if later:
            widgets.link("feature", f"{later[0]} ⇥", hook=hook, latent=later[0], help="next with texts")
        widgets.link("diff_map", "On the map", hook=hook)
    return latent
