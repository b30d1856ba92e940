"""Switches: where a change of behaviour sits, and what brings the behaviour back."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from audit.evidence.schema.results import BehaviourBypass, BehaviourSwitches, BypassResult, BypassTrial
from dashboards import pick, state, widgets
from dashboards.charts import doses as dose_charts
from dashboards.charts import switches as charts
from dashboards.facts import Fact, facts
from dashboards.shape.switches import FAMILIES, Family, searches, trial_of, with_trials, with_units
from dashboards.store import Store
from dashboards.text import plain
from dashboards.widgets import estimate, number, section

SPLITS = {"test": "held-out", "train": "fit half"}


def page() -> None:
    """The page."""
    store = state.current()
    widgets.heading("Switches", "Where does the change sit, and does bypassing it bring the behaviour back?")
    widgets.banner(store)
    located, bypass = store.result("switches"), store.result("bypass")
    names = list(dict.fromkeys(b.name for r in (located, bypass) if r is not None for b in r.behaviours))
    if not names:
        widgets.not_measured("Where the change sits", store.why_missing("switches"))
        widgets.not_measured("What brings the behaviour back", store.why_missing("bypass"))
        return
    name = state.choose("Behaviour", "behaviour", names)
    _located(store, name)
    _bypassed(store, name)


def _located(store: Store, name: str) -> None:
    result = store.result("switches")
    section(
        "Where it sits",
        "Weights of the base put back into the tuned model, unit by unit and module by module.",
    )
    found = next((b for b in result.behaviours if b.name == name), None) if result else None
    if found is None or not found.searched:
        why = store.why_missing("switches") if result is None else found and found.why_not
        widgets.not_measured("Where the change sits", why or "it was not searched for this behaviour")
        return
    for warning in result.warnings:
        st.warning(plain(warning))
    _set(found, result.largest)
    _candidates(store, name)
    _modules(store, name)


def _set(found: BehaviourSwitches, largest: int) -> None:
    gap = None if found.completeness_gap is None else f"{found.completeness_gap:.2g} of it"
    facts(
        Fact("Shape", found.shape),
        Fact("Change, fit half (nats)", found.change),
        Fact("Attribution misses", gap, f"{found.steps} gradients"),
        Fact("Best module alone gives back", found.best_graft_recovered, found.best_graft or ""),
    )
    if found.set is None:
        widgets.not_measured("A set of units", f"no set of at most {largest} units was found")
    else:
        kept = "reported" if found.set.reported else "not reported"
        st.markdown(
            f"**Smallest set: {found.set.size} unit(s), {kept}.** Held-out share given back: "
            f"{plain(estimate(found.set.recovered))}; random sets of equal size and norm: mean "
            f"{number(found.set.random_mean)}, largest {number(found.set.random_max)} "
            f"({found.set.random_sets} sets). It carries {found.set.carried:.0%} of the attributed push."
        )
        _say(found.set.why_not)
        with st.expander(f"Its {len(found.set.units)} unit(s)"):
            widgets.text("\n".join(found.set.units))
    _say(found.notes)
    with st.expander("The search, kind by kind"):
        st.caption("Size 0: none of the sets tried gave half of the behaviour back on the fit half.")
        alt = "The smallest set that would do among the units of each kind, on the fit half"
        widgets.table(searches(found), "searches", alt=alt)


def _candidates(store: Store, name: str) -> None:
    if not store.has("units"):
        widgets.not_measured("Candidate units", store.why_no_table("units"))
        return
    units = with_units(store.frame("units", where="behaviour = ?", parameters=[name]))
    left, right = st.columns(2)
    strongest = charts.strongest(units, "weight_attribution")
    top = f", the strongest {strongest['unit'].iloc[0]}" if len(strongest) else ""
    with left:
        alt = f"Weight and write attribution of {len(strongest)} candidate units{top}"
        widgets.chart(charts.attribution(units), alt=alt, key="attribution", height=460)
    with right:
        alt = "What each unit writes towards the behaviour, base against tuned"
        widgets.chart(charts.writes(units), alt=alt, key="writes", height=460)
    widgets.table(units, "units", alt=f"{len(units)} candidate units with attributions and norms")


def _modules(store: Store, name: str) -> None:
    if not store.has("grafts"):
        widgets.not_measured("Grafts of modules", store.why_no_table("grafts"))
        return
    section("Modules", "One module's weights exchanged at a time.")
    frame = store.frame("grafts", where="behaviour = ?", parameters=[name], order="recovered DESC")
    alt = f"Share of the change that each of {frame['module'].nunique()} modules carries"
    widgets.chart(charts.grafts(frame), alt=alt, key="grafts")
    widgets.table(frame, "graft-rows", alt="Grafts of modules with their attribution", name="grafts")


def _bypassed(store: Store, name: str) -> None:
    section("What brings it back", "Interventions in the tuned model, chosen on one half of the entities.")
    result: BypassResult | None = store.result("bypass")
    found = next((b for b in result.behaviours if b.name == name), None) if result else None
    if result is None or found is None or not store.has("doses"):
        why = store.why_missing("bypass") if result is None else "no intervention was tried on this behaviour"
        widgets.not_measured("What brings the behaviour back", why)
        return
    family: Family = pick.one_of("Family", "family", list(FAMILIES))  # type: ignore[assignment]  # its keys
    st.caption(FAMILIES[family])
    _trial(trial_of(found, family), found, result)
    split = pick.one_of("Items", "split", list(SPLITS), shown=lambda key: SPLITS.get(key, key))
    rows = with_trials(store.frame("doses", where="behaviour = ?", parameters=[name]))
    part = rows[(rows["family"] == family) & (rows["split"] == split)].reset_index(drop=True)
    _charts(part, result, family)
    widgets.table(part, "doses", alt=f"{len(part)} trials and controls with their side effects")
    _say([*found.not_measured, *result.not_measured])


def _charts(part: pd.DataFrame, result: BypassResult, family: str) -> None:
    left, right = st.columns([3, 2])
    with left:
        controls = int(part["is_null"].sum())
        alt = f"Recovered share by dose, {family} interventions, {controls} matched controls as crosses"
        widgets.chart(dose_charts.dose_response(part), alt=alt, key="dose-response", height=420)
    with right:
        figure = dose_charts.side_effects(part, result.kl_budget, result.skills_budget)
        budgets = f"{result.kl_budget:g} nats, {result.skills_budget:g}"
        alt = f"KL on unrelated text and skills kept; budgets {budgets}"
        widgets.chart(figure, alt=alt, key="side-effects", height=420)


def _trial(trial: BypassTrial | None, found: BehaviourBypass, result: BypassResult) -> None:
    if trial is None:
        widgets.not_measured(
            "A trial of this family", "none was tried, or none could be chosen on the fit half"
        )
        return
    support = "may support a verdict" if trial.may_support else "supports no verdict"
    st.markdown(
        f"**Reported: {plain(trial.intervention)} of {plain(trial.set)}** "
        f"({trial.size} unit(s), dose {trial.dose:g}), {support}."
    )
    widgets.text(trial.description)
    controls = f"{trial.controls}; {result.least_random} are needed"
    facts(
        Fact("Recovered share R, held-out", trial.recovered),
        Fact(f"Largest of {trial.random_sets} controls", trial.random_max, controls),
        Fact("KL off target, nats", trial.off_target_kl, f"budget {result.kl_budget:g}"),
        Fact("Skills kept", trial.skills, f"budget {result.skills_budget:g}"),
    )
    _say(trial.why_not + ([trial.note] if trial.note else []))
    st.caption(f"{found.entities} held-out entities; the fit half chose among {found.trials} trials.")


def _say(sentences: list[str]) -> None:
    if sentences:
        widgets.sentences(sentences)
