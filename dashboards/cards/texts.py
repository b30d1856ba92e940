"""The card's texts: what the latent fires on, what it writes, how strongly."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboards import latents, widgets
from dashboards.charts.latents import activations_figure
from dashboards.store import Store
from dashboards.text import plain
from dashboards.tokens import token_strip

STRATA = {
    "top": "Strongest, one per document",
    "quantile": "Across the range, from the strongest to the weakest",
    "random": "Random tokens where it fires: what the label has to fit",
}
PER_STRATUM = 20
NO_TEXTS = "only described latents have texts: candidates, the strongest, and a random sample"


def histogram(found: pd.DataFrame) -> None:
    """Activations of both models on one axis.

    Args:
        found: rows of the table `examples` of one latent.
    """
    widgets.section("Activations", "How strong it is where it is active, in each model, on the same tokens.")
    if found.empty:
        widgets.not_measured("Activations", NO_TEXTS)
        return
    base, tuned = (np.concatenate([*found[f"activation_{side}"]]) for side in ("base", "tuned"))
    if not (base > 0).any() and not (tuned > 0).any():
        widgets.not_measured("Activations", "it is silent on all stored texts")
        return
    counts = f"{int((base > 0).sum())} active tokens in the base, {int((tuned > 0).sum())} in the tuned model"
    widgets.chart(
        activations_figure(base, tuned),
        alt=f"Histogram of activations of both models on a log scale: {counts}",
        key="activations",
        height=300,
    )
    st.caption(
        plain(
            f"Made of the {len(base):,} tokens in its {len(found)} stored windows, where strong activations "
            "are over-represented; a histogram over the whole text was not stored."
        )
    )


def logits(store: Store, card: dict[str, Any]) -> None:
    """Tokens that it raises and lowers most, in both models."""
    widgets.section("Logits", "Tokens that it raises and lowers most; a mark: not in the other model's list.")
    found = latents.of_latent(store, "logits", card["hook"], card["latent"], "sign DESC, model, rank")
    if found.empty:
        widgets.not_measured("Logits", NO_TEXTS if store.has("logits") else store.why_no_table("logits"))
        return
    for column, sign in zip(st.columns(2, gap="large"), ("top", "bottom"), strict=True):
        with column:
            widgets.table(
                logits_beside(found, sign),
                f"logits-{sign}",
                alt=f"The {sign} tokens of both models beside each other, those of one model marked",
                height="content",
            )


def logits_beside(logits: pd.DataFrame, sign: str) -> pd.DataFrame:
    """Both models' tokens of one sign beside each other, those that only one of them has marked."""
    own = {m: logits[(logits["sign"] == sign) & (logits["model"] == m)] for m in ("base", "tuned")}
    tokens = {m: list(rows.sort_values("rank")["token"]) for m, rows in own.items()}
    columns: dict[str, list[Any]] = {}
    said = {"top": "raised", "bottom": "lowered"}[sign]
    for model, other in (("base", "tuned"), ("tuned", "base")):
        missing = set(tokens[model]) - set(tokens[other])
        marked = [f"{'◆ ' if token in missing else '  '}{token!s}" for token in tokens[model]]
        values = list(own[model].sort_values("rank")["value"])
        columns[f"{said}, {model}"], columns[f"by, {model}"] = marked, values
    longest = max((len(values) for values in columns.values()), default=0)
    return pd.DataFrame({name: [*v, *[None] * (longest - len(v))] for name, v in columns.items()})


def examples(store: Store, card: dict[str, Any], found: pd.DataFrame) -> None:
    """The same tokens once per model, by stratum, with a search.

    Args:
        store: the run.
        card: the latent's numbers.
        found: its rows of the table `examples`.
    """
    widgets.section(
        "Texts", "The same tokens twice: coloured by the base, then by the tuned model, on one scale."
    )
    if found.empty:
        widgets.not_measured("Texts", NO_TEXTS if store.has("examples") else store.why_no_table("examples"))
        return
    top = strongest(found)
    wanted = st.text_input("Search these texts", key="search", placeholder="part of a text", max_chars=100)
    found = found[matching(found, wanted)]
    present = [name for name in STRATA if (found["stratum"] == name).any()]
    if not present:
        st.info("None of the stored texts holds this.")
        return
    for tab, stratum in zip(st.tabs([STRATA[name] for name in present]), present, strict=True):
        with tab:
            _stratum(found[found["stratum"] == stratum], top)
    widgets.downloads(found, "examples", f"latent-{card['latent']}-texts")


def _stratum(rows: pd.DataFrame, top: float) -> None:
    for row in rows.sort_values("rank").head(PER_STRATUM).to_dict("records"):
        with st.container(border=True):
            st.html(strip_of(row, top))
            st.caption(plain(source_of(row)))


def strip_of(row: dict[Hashable, Any], top: float) -> str:
    """The coloured tokens of one row of the table `examples`."""
    base, tuned = (list(row[f"activation_{side}"]) for side in ("base", "tuned"))
    return token_strip(list(row["tokens"]), base, tuned, int(row["position"]), top)


def source_of(row: dict[Hashable, Any]) -> str:
    """Who speaks in a window, and which document it is of."""
    return f"{row['role']}, {row['source']}" if isinstance(row["role"], str) else str(row["source"])


def matching(examples: pd.DataFrame, wanted: str) -> pd.Series[bool]:
    """Which windows hold a piece of text, whatever its case."""
    said = examples["tokens"].map(lambda tokens: "".join(str(token) for token in tokens).casefold())
    return said.str.contains(wanted.casefold(), regex=False)


def strongest(examples: pd.DataFrame) -> float:
    """The largest activation of either model, which gets the strongest colour."""
    both = [*examples["activation_base"], *examples["activation_tuned"]]
    return max((float(np.max(values)) for values in both if len(values)), default=0.0)


def stored(store: Store, card: dict[str, Any]) -> pd.DataFrame:
    """The latent's rows of the table `examples`."""
    return latents.of_latent(store, "examples", card["hook"], card["latent"], "stratum, rank")
