"""Training: how a tuned model was made, or how an attack on it went."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from audit.evidence.schema.results import AttackResult, TrainResult
from dashboards import state, widgets
from dashboards.charts import training as charts
from dashboards.facts import Fact, facts
from dashboards.shape import training as shape
from dashboards.store import Store
from dashboards.theme import ACCENT, NULL, TUNED
from dashboards.widgets import section


def page() -> None:
    """The page."""
    store = state.current()
    widgets.heading("Training", "How was the tuned model made, and how easily is it unmade?")
    widgets.banner(store)
    if store.manifest.kind not in ("train", "attack"):
        why = f"this is a run of `audit {store.manifest.kind}`; name a run of `audit train` beside it"
        widgets.not_measured("Training", why)
        return
    if store.manifest.kind == "attack":
        _attack(store)
    else:
        _train(store)
    _steps(store)
    _tokens(store)


def _train(store: Store) -> None:
    result: TrainResult | None = store.result("train")
    if result is None:
        widgets.not_measured("Training", store.why_missing("train"))
        return
    widgets.text(f"{result.method} on {result.suite or 'no suite'}, {result.steps} steps")
    facts(
        Fact("Reward, first tenth", result.reward_first),
        Fact("Reward, last tenth", result.reward_last),
        Fact("Groups without variance", f"{result.dead_groups:.1%}", "of the whole run"),
        Fact("KL(reference || policy) at the end", result.exact_kl_last, "nats per token, exact"),
    )
    if not result.had_gradient:
        st.warning("No group had reward variance: the policy got no gradient and nothing was learned.")


def _attack(store: Store) -> None:
    result: AttackResult | None = store.result("attack")
    if result is None:
        widgets.not_measured("The attack", store.why_missing("attack"))
        return
    facts(
        Fact("Smallest dose that did harm, steps", result.smallest_dose or "none did"),
        Fact("Counts as harm from", result.harm_threshold),
        Fact("Half of it undone after", result.half_life, "steps of realignment"),
    )
    widgets.text(f"attacked with: {result.item}")
    if not result.conclusive:
        st.warning(
            f"INCONCLUSIVE: {result.why or 'no group had reward variance: the attack had no gradient'}. "
            "That is no evidence of robustness."
        )
    _doses(store, result)


def _doses(store: Store, result: AttackResult) -> None:
    section("Dose and recovery", "Every arm with its seeds; controls train on something harmless.")
    if not store.has("attack_doses"):
        widgets.not_measured("The dose curve", store.why_no_table("attack_doses"))
        return
    frame = store.frame("attack_doses")
    measures = sorted({str(value) for value in frame["measure"]})
    if not measures:
        widgets.not_measured("The dose curve", "the table has no rows")
        return
    measure = state.choose("Measure", "measure", measures)
    doses = shape.doses_of(frame, measure)
    arms, seeds = doses.attack["arm"].nunique(), doses.attack["seed"].nunique()
    alt = f"Measured harm by dose in {arms} arms and {seeds} seeds; harm from {result.harm_threshold:g}"
    widgets.chart(charts.dose_curve(doses.attack, result.harm_threshold), alt=alt, key="doses", height=400)
    if doses.recovery.empty:
        widgets.not_measured("Recovery", "no step of realignment was measured after the attack")
    else:
        alt = "Measured harm by steps of realignment after the attack"
        figure = charts.dose_curve(doses.recovery, result.harm_threshold)
        figure.update_xaxes(title="steps of realignment after the attack")
        widgets.chart(figure, alt=alt, key="recovery")
    rows = frame[frame["measure"] == measure]
    widgets.table(rows, "attack_doses", alt="Every dose, arm and seed of this measure")


def _steps(store: Store) -> None:
    section("Steps", "Reward per channel, divergence from the reference, and whether there was a gradient.")
    if not store.has("train_steps"):
        widgets.not_measured("Steps", store.why_no_table("train_steps"))
        return
    frame = store.frame("train_steps", order="step, channel", limit=100_000)
    totals = shape.totals(frame)
    first, last = (totals["reward"].iloc[place] if len(totals) else float("nan") for place in (0, -1))
    left, right = st.columns(2)
    with left:
        alt = f"Mean reward by step, from {first:.3g} to {last:.3g}"
        widgets.chart(charts.reward(frame), alt=alt, key="reward")
        alt = "Spread of the reward within groups by step, and groups without any"
        widgets.chart(charts.variance(totals), alt=alt, key="variance")
    with right:
        _divergence(totals)
        figure = charts.by_step(totals, "gradient_norm", "gradient norm before clipping", ACCENT)
        widgets.chart(figure, alt="Gradient norm by step", key="gradient")
    widgets.table(frame, "train_steps", alt=f"{len(frame)} steps and channels")


def _divergence(totals: pd.DataFrame) -> None:
    if len(totals) and totals["exact_kl"].isna().all():
        widgets.not_measured("The divergence from the start", "this method measures none")
        return
    title = "KL(reference || policy), nats per token"
    alt = f"Exact divergence by step, largest {totals['exact_kl'].max():.3g}"
    widgets.chart(charts.by_step(totals, "exact_kl", title, TUNED), alt=alt, key="exact-kl")


def _tokens(store: Store) -> None:
    section("Tokens", "Which places trained, and how hard: the gradient of a token is weight x advantage.")
    if not store.has("tokens"):
        widgets.not_measured("Tokens", store.why_no_table("tokens"))
        return
    positions, steps = store.query(shape.BY_POSITION), store.query(shape.BY_STEP)
    left, right = st.columns(2)
    with left:
        alt = f"Mean weight and share kept at {len(positions)} places of the completion"
        widgets.chart(charts.by_position(positions), alt=alt, key="by-position")
    with right:
        title = "staleness |log trainer - log sampler|, nats"
        figure = charts.by_step(steps, "staleness", title, NULL)
        widgets.chart(figure, alt="How far the sampler was behind the trainer, by step", key="staleness")
    widgets.table(positions, "tokens-by-position", alt="Weights and keeps by position")
    _rest(steps)


def _rest(steps: pd.DataFrame) -> None:
    with st.expander("The same by step"):
        widgets.table(steps, "tokens-by-step", alt="Weights and keeps by step")
