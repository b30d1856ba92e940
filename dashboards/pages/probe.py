"""Text probe: a text through a stored dictionary, both models on the same tokens."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from audit.errors import AuditError
from dashboards import state, widgets
from dashboards.asking import Probed, ask
from dashboards.charts import probe as charts
from dashboards.pick import one_of
from dashboards.state import typed_number
from dashboards.store import Store
from dashboards.tokens import token_strip
from dashboards.widgets import section

LONGEST = 4000
MOST_LATENTS = 40
ORDERS = ("strongest", "difference")
KEPT = "_probed"
"""Key of the session's last answer, with the request that it answers."""


def page() -> None:
    """The page."""
    store = state.current()
    widgets.heading("Text probe", "What do the latents do on a text of your own, in both models?")
    widgets.banner(store)
    features = store.result("features")
    if features is None or not features.hooks:
        why = store.why_missing("features") if features is None else "the run has no dictionary"
        widgets.not_measured("Latents on a text", why)
        return
    request = _form(store, [found.hook for found in features.hooks])
    if request is not None:
        _ask(request)
    answered: Probed | None = st.session_state.get(KEPT, {}).get(str(store.run.path))
    if answered is not None:
        _shown(answered)


def _form(store: Store, hooks: list[str]) -> dict[str, Any] | None:
    cells = st.columns([4, 3, 2])
    with cells[0]:
        hook = state.choose("Hook point", "hook", list(dict.fromkeys(hooks)))
    with cells[1]:
        order = one_of("Show latents by", "order", ORDERS)
    with cells[2]:
        typed_number("top", 1, MOST_LATENTS, 12)
        top = st.number_input("Latents", 1, MOST_LATENTS, 12, key="top", bind="query-params")
    text = st.text_area("Text", max_chars=LONGEST, key="text", bind="query-params", height=120)
    st.caption(
        "Read as plain text, in a process of its own, with the models where the manifest says they lie, if "
        "every file still has its hash. The text stands in the address of this page."
    )
    if not st.button("Probe", type="primary", icon=":material/play_arrow:", disabled=not text.strip()):
        return None
    return {"run": str(store.run.path), "text": text, "hook": hook, "order": order, "top": int(top)}


def _ask(request: dict[str, Any]) -> None:
    kept = st.session_state.setdefault(KEPT, {})
    kept.pop(request["run"], None)
    try:
        with st.spinner("Both models read the text; the first time takes longest", show_time=True):
            kept[request["run"]] = ask(request)
    except AuditError as error:
        state.say_error(error)


def _shown(answered: Probed) -> None:
    tokens = answered["tokens"]
    frame = pd.DataFrame(answered["found"], columns=["latent", "base", "tuned"])
    section("Latents on this text")
    widgets.text(
        f"{answered['hook']}: {len(tokens)} tokens; {answered['base']} above, {answered['tuned']} below. "
        f"The first {answered['left_out']} token(s) are left out, as in the audit."
    )
    alt = f"Activation of {len(frame)} latents on {len(tokens)} tokens, base above tuned"
    height = 160 + 2 * 20 * max(4, len(frame))
    widgets.chart(charts.overview(tokens, frame), alt=alt, key="probe-overview", height=height)
    if answered["joint"]:
        st.caption(
            "Both models share one code; what is shown is how much of it each model has, token by token."
        )
    if len(frame):
        _one(answered, tokens)
    rows = _rows(answered)
    widgets.table(
        rows, "probe-rows", alt="Every latent and token with both activations", height=300, name="probe"
    )


def _one(answered: Probed, tokens: list[str]) -> None:
    found = {str(one["latent"]): one for one in answered["found"]}
    section("One latent", "The same tokens, shaded once per model.")
    label = st.selectbox("Latent", list(found), key="probe-latent")
    one = found[str(label)]
    peaks = [max(pair) for pair in zip(one["base"], one["tuned"], strict=True)]
    top = max(peaks, default=0.0)
    st.html(token_strip(tokens, one["base"], one["tuned"], peaks.index(top) if top else -1, top))
    st.caption(
        f"Strongest: {max(one['base']):.3g} in the base, {max(one['tuned']):.3g} in the tuned model; "
        "the token is underlined."
    )
    widgets.link("feature", f"Card of latent {one['latent']}", hook=answered["hook"], latent=one["latent"])


def _rows(answered: Probed) -> pd.DataFrame:
    rows = [
        (one["latent"], place, token, base, tuned, tuned - base)
        for one in answered["found"]
        for place, (token, base, tuned) in enumerate(
            zip(answered["tokens"], one["base"], one["tuned"], strict=True)
        )
    ]
    return pd.DataFrame(rows, columns=["latent", "position", "token", "base", "tuned", "tuned - base"])
