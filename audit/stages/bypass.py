"""Does bypassing the switch bring the behaviour back? Interventions in the tuned model, dose by dose."""

from __future__ import annotations

import pandas as pd

from audit.behaviours.suite import Suite
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import (
    BehaviourBypass,
    BehaviourResult,
    BypassResult,
    FeaturesResult,
    SuiteResult,
    SwitchesResult,
)
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.stages.bypass_inputs import BypassInputs
from audit.stages.bypass_summary import LEAST_RANDOM, summarise
from audit.stages.changed import no_switch
from audit.verdict.seen import seen_in

NOTHING_LOST = "the interval of its change includes 0 on the held-out half: there is no share to recover"
NO_SWITCHES = "the stage switches was skipped, so no set of units was tried"
NO_FEATURES = "the stage features was skipped, so no latents were taken out"


def run(
    audit: AuditInputs,
    folder: StageFolder,
    behaviours: BehaviourResult,
    switches: SwitchesResult | None,
    features: FeaturesResult | None = None,
) -> BypassResult:
    """Tries to bring every changed behaviour back; choosing and reporting are parts that survive a kill.

    Args:
        audit: the pair.
        folder: where the table `doses` goes; the tables of earlier stages lie beside it.
        behaviours: what changed.
        switches: result of the stage `switches`; None if it was skipped.
        features: result of the stage `features`; None if it was skipped.
    """
    from audit.causal.off_target import KL_BUDGET, SKILLS_BUDGET

    inputs = BypassInputs(audit, folder, behaviours, switches, features)
    in_base = BypassInputs(audit, folder, behaviours, None, None, exchanged=True)
    found, frames, climbed = [], [], []
    for suite, result in zip(audit.suites, behaviours.suites, strict=True):
        if why := untouched(result):
            found.append(_unmeasured(result, why))
            continue
        one, rows = _tried(inputs, suite, result)
        found.append(one)
        frames.append(rows)
        if seen_in(result).moved == "rose":
            climbed.append(_tried(in_base, suite, result)[0])
    folder.write_table("doses", pd.concat(frames, ignore_index=True) if frames else _no_rows())
    return BypassResult(
        behaviours=found,
        in_base=climbed,
        kl_budget=KL_BUDGET,
        skills_budget=SKILLS_BUDGET,
        least_random=LEAST_RANDOM,
        not_measured=[
            *([] if switches is not None else [NO_SWITCHES]),
            *([] if features is not None else [NO_FEATURES]),
        ],
    )


def untouched(result: SuiteResult) -> str | None:
    """Why a behaviour has nothing to bring back, or None if it has."""
    change = result.primary.change
    if not result.measurable:
        return "the suite is not measurable on this base"
    if change.low is None or change.high is None or change.low <= 0 <= change.high:
        return NOTHING_LOST
    return None


def _tried(inputs: BypassInputs, suite: Suite, result: SuiteResult) -> tuple[BehaviourBypass, pd.DataFrame]:
    """What the trials on one behaviour say, and their rows."""
    rows, shift = _rows(inputs, result), no_switch(suite, result)
    found = summarise(result, rows, inputs.missing(result), texts=inputs.texts, shift=shift)
    return found.model_copy(update={"gates_learned": inputs.learned(result.name)}), rows


def _rows(inputs: BypassInputs, result: SuiteResult) -> pd.DataFrame:
    """Rows of one behaviour, from finished parts or made now."""
    name, progress = result.name, inputs.audit.progress
    title = f"{result.title}: bypass{' inside the base' if inputs.exchanged else ''}"
    part = inputs.part_of(name)

    def fit() -> pd.DataFrame:
        bypass = inputs.bypass(name)
        with progress.task(f"{title}, trials", bypass.fit_work) as advance:
            return bypass.fit_rows(advance)

    fitted = inputs.folder.part(f"{part}-fit", "doses", fit)
    inputs.keep_tried(name)

    def held() -> pd.DataFrame:
        bypass = inputs.bypass(name)
        with progress.task(f"{title}, doses and controls", bypass.held_work(fitted)) as advance:
            return bypass.held_rows(fitted, advance)

    return pd.concat([fitted, inputs.folder.part(f"{part}-held", "doses", held)], ignore_index=True)


def _unmeasured(result: SuiteResult, why: str) -> BehaviourBypass:
    return BehaviourBypass(
        name=result.name,
        template=result.primary_template,
        entities=result.primary.change.n,
        internal=None,
        latents=None,
        gates=None,
        rewire=None,
        revert=None,
        reading_base=None,
        trials=0,
        not_measured=[why],
    )


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame({column.name: [] for column in TABLES["doses"].columns})
