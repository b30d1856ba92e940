"""Drift: how far the model moved at all, in its distributions and in its weights."""

from __future__ import annotations

import streamlit as st

from audit.evidence.schema.results import DirectionDrift, DriftResult
from audit.evidence.text import share_text
from dashboards import pick, state, widgets
from dashboards.charts import drift as charts
from dashboards.facts import Fact, facts
from dashboards.shape import drift as shape
from dashboards.store import Store
from dashboards.widgets import estimate, section

MOST_ROWS = 200_000


def page() -> None:
    """The page."""
    store = state.current()
    widgets.heading("Drift", "How far did the model move at all, in what it says and in its weights?")
    widgets.banner(store)
    _distributions(store)
    _weights(store)


def _distributions(store: Store) -> None:
    section(
        "Distributions", "KL of next tokens, exact over the vocabulary, on prefixes that a model sampled."
    )
    result: DriftResult | None = store.result("drift")
    if result is None:
        widgets.not_measured("Drift of the distributions", store.why_missing("drift"))
        return
    _facts(result)
    curves = shape.curves(result)
    alt = (
        f"Cumulative KL over {result.new_tokens} tokens: {estimate(result.forward.sequence_kl)} nats "
        f"forward, {estimate(result.reverse.sequence_kl)} reverse; noise floor {result.noise_floor.upper:.3g}"
    )
    widgets.chart(charts.prefix_curve(curves, result.noise_floor.upper), alt=alt, key="prefix-curve")
    widgets.table(curves, "prefix-rows", alt="Cumulative KL by step, both directions")
    _tokens(store, result)


def _facts(result: DriftResult) -> None:
    floor = result.noise_floor
    facts(
        Fact("Against the noise floor", result.position),
        Fact("KL(base || tuned), nats", result.forward.sequence_kl),
        Fact("KL(tuned || base), nats", result.reverse.sequence_kl),
        Fact("Noise floor, nats", floor.sequence_kl),
    )
    widgets.text(
        f"{result.sequences} sequences of {result.new_tokens} tokens from each model; the floor is the base "
        f"against itself in {floor.dtype}, batch size {floor.batch_size}; "
        f"largest step {floor.largest_step:.3g} nats"
    )


def _tokens(store: Store, result: DriftResult) -> None:
    if not store.has("drift"):
        widgets.not_measured("Single tokens", store.why_no_table("drift"))
        return
    section("Single tokens", "Where the two models part most; outliers are drawn large.")
    outliers = _outliers("base", result.forward) + "; " + _outliers("tuned", result.reverse)
    widgets.text(outliers)
    rows = shape.token_kl(store.frame("drift", limit=MOST_ROWS))
    shown = shape.sampled(rows)
    thresholds = {"base": result.forward.outlier_threshold, "tuned": result.reverse.outlier_threshold}
    figure = charts.tokens(shown, thresholds, result.noise_floor.largest_step)
    widgets.chart(
        figure, alt=f"KL of {len(shown):,} next tokens by step; {outliers}", key="tokens", height=420
    )
    if len(shown) < len(rows):
        st.caption(f"{len(shown):,} of {len(rows):,} tokens are drawn: every outlier and an even sample.")
    widgets.table(rows, "drift", alt="Every sampled token with both KLs, the largest first")


def _outliers(source: str, drift: DirectionDrift) -> str:
    return f"{source}: {drift.outliers} of {drift.tokens} tokens above {drift.outlier_threshold:.3g} nats"


def _weights(store: Store) -> None:
    section("Weights", "What changed, module by module; choose a row for the spectrum of its change.")
    if not store.has("weights"):
        why = store.why_missing("weights")
        widgets.not_measured("Change of the weights", why)
        return
    result = store.result("weights")
    if result is not None:
        facts(
            Fact("Change over norm, all weights", result.relative_change),
            Fact(
                "Unchanged weights", share_text(result.unchanged_share), f"compared in {result.compared_in}"
            ),
            Fact("Changed tensors", f"{result.changed_tensors} of {result.tensors}"),
        )
    measure: charts.Measure = pick.one_of(  # type: ignore[assignment]  # its keys
        "Colour", "measure", list(charts.MEASURES), shown=lambda key: charts.MEASURES.get(key, key)
    )
    frame = shape.weight_rows(store.frame("weights"))
    figure = charts.weight_map(frame, measure)
    height = min(900, 120 + 22 * max(1, frame["row"].nunique()))
    alt = f"{len(frame)} tensors by block and module, coloured by {charts.MEASURES[measure]}"
    widgets.chart(figure, alt=alt, key="weight-map", height=height)
    ordered = frame.sort_values(measure, ascending=False, kind="stable", ignore_index=True)
    chosen = widgets.table(ordered, "weights", alt=alt, select="single-row")
    if chosen:
        row = ordered.iloc[chosen[0]]
        widgets.text(row["module"])
        values = row["singular_values"]
        figure = charts.spectrum([] if values is None else [float(value) for value in values])
        widgets.chart(figure, alt="Largest singular values of the change of this tensor", key="spectrum")
