"""The card's head: what kind of latent it is, by which numbers, against which bars; and where it is from."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboards import judging, latents, widgets
from dashboards.charts.latents import rates_figure
from dashboards.latents import wilson
from dashboards.store import Store
from dashboards.text import plain
from dashboards.theme import KINDS

COLOURS = {
    "base only": "blue", "tuned only": "orange", "rotated": "violet", "silenced": "yellow",
    "unsure": "green", "shared": "gray", "dead": "gray",
}  # fmt: skip
NAMES = {
    "q_value": "q-value against the nulls",
    "score": "how switched it looks",
    "nu_error_base": "latent scaling on the error, base row",
    "nu_error_tuned": "latent scaling on the error, tuned row",
    "nu_reconstruction_base": "latent scaling on the reconstruction, base row",
    "nu_reconstruction_tuned": "latent scaling on the reconstruction, tuned row",
    "decoder_cosine": "cosine of the decoder rows",
    "delta_norm": "relative decoder norm",
    "rate": "firing rate, either side",
}
"""Numbers that decide the kind, in the order of reading."""


def verdict(store: Store, card: dict[str, Any]) -> None:
    """The kind in a word, what it means, and the numbers behind it beside their bars."""
    kind = card["kind"]
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(plain(f"Latent {card['latent']}"), anchor=False, width="content")
            known = kind in KINDS
            st.badge(kind.upper() if known else "unknown kind", color=COLOURS.get(kind, "gray"))  # type: ignore[arg-type]
        st.caption(plain(judging.MEANING.get(kind, kind)))
        if card["candidate"] != kind:
            widgets.text(
                f"By the thresholds alone it would be {card['candidate']}; the null does not allow it."
            )
        label = "no label: nobody and nothing has said what it stands for"
        widgets.text(f"label: {card['label']}" if card["label"] else label)
        decided = numbers(card, _rotation_bar(store, card["hook"]))
        effects = latents.of_latent(store, "latent_effects", card["hook"], card["latent"], "behaviour")
        widgets.table(
            pd.concat([decided, silencing(effects)]) if len(effects) else decided,
            "numbers",
            alt="The numbers that decide the kind of the latent, each beside its threshold",
            height="content",
        )


def numbers(card: dict[str, Any], rotation_bar: float) -> pd.DataFrame:
    """Each deciding number beside its bar."""
    rules = judging.rules(rotation_bar)
    rows = [
        {"number": said, "value": widgets.number(card[name], ".4g"), "threshold": rules[name]}
        for name, said in NAMES.items()
    ]
    recurs = widgets.number(card["seed_recurrence"], ".0%")
    rows.append(
        {"number": "reappears in other seeds", "value": recurs, "threshold": "share of the other seeds"}
    )
    return pd.DataFrame(rows)


def silencing(effects: pd.DataFrame) -> pd.DataFrame:
    """What decides that a latent is silenced: its part in a behaviour, before and after.

    Args:
        effects: rows of the table `latent_effects` of one latent.
    """
    gone = f"silenced: at most {judging.GONE:.0%} of the base's, q at most {judging.LEVEL:g}"
    rows = [
        {
            "number": f"effect on {row['behaviour']}: base, tuned, q",
            "value": f"{row['effect_base']:.4g}, {row['effect_tuned']:.4g}, "
            f"{widgets.number(row['q_value'], '.2g')}",
            "threshold": gone,
        }
        for row in effects.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=["number", "value", "threshold"])


def _rotation_bar(store: Store, hook: str) -> float:
    result = store.result("features")
    bars = [found.rotation_bar for found in (result.hooks if result else []) if found.hook == hook]
    return float(bars[0]) if bars else judging.COSINE


def rates(store: Store, card: dict[str, Any]) -> None:
    """Firing rate and mean activation in both models."""
    widgets.section("Rates", "How often and how strongly it fires in each model on the same text.")
    result = store.result("features")
    tokens = result.tokens if result else 0
    found = {
        side: (card[f"rate_{side}"], *wilson(card[f"rate_{side}"], tokens)) for side in ("base", "tuned")
    }
    said = {side: f"{v:.3%} [{low:.3%}, {high:.3%}]" for side, (v, low, high) in found.items()}
    widgets.chart(
        rates_figure(found),
        alt=f"Firing rate: base {said['base']}, tuned {said['tuned']}",
        key="rates",
        height=170,
    )
    frame = pd.DataFrame(
        {
            "model": ["base", "tuned"],
            "rate [95 %]": [said["base"], said["tuned"]],
            "mean where active": [card["mean_base"], card["mean_tuned"]],
            "decoder norm": [card["norm_base"], card["norm_tuned"]],
        }
    )
    widgets.table(frame, "rates-table", alt="Rates, means and norms of both models", height="content")
    st.caption(
        plain(f"Wilson interval over {tokens:,} tokens as if they were independent: the truth is wider.")
    )


def identity(store: Store, card: dict[str, Any]) -> None:
    """Where the latent comes from: models, dictionary, corpus, run."""
    widgets.section("Identity")
    widgets.text("\n".join(f"{name}: {value}" for name, value in facts(store, card).items()))


def facts(store: Store, card: dict[str, Any]) -> dict[str, str]:
    """What has to be known to find the same latent again."""
    manifest, result = store.manifest, store.result("features")
    hook = next((h for h in (result.hooks if result else []) if h.hook == card["hook"]), None)
    tuned = manifest.tuned
    return {
        "run": store.name,
        "latent": f"{card['hook']}/{card['latent']}",
        "base": f"{manifest.base.reference}, SHA-256 {manifest.base.identity}",
        "tuned": f"{tuned.reference}, SHA-256 {tuned.identity}" if tuned else "none",
        "dictionary": f"{hook.dictionary}, {hook.latents:,} latents, {hook.seeds} seed(s)"
        if hook
        else "unknown",
        "dictionary file": _dictionary_hash(store, card["hook"]),
        "text": f"{result.tokens:,} tokens of {result.documents:,} documents" if result else "unknown",
    }


def _dictionary_hash(store: Store, hook: str) -> str:
    from dashboards.neighbours import WEIGHTS

    files = store.files("features")
    name = f"dictionaries/{hook}/seed-{store.manifest.seed}/{WEIGHTS}"
    return f"SHA-256 {files[name]}" if name in files else "not stored in the run"
