"""From the results of a run to one row of evidence per behaviour."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import (
    BehaviourBypass,
    BehaviourRelearning,
    BehaviourResult,
    BypassResult,
    BypassTrial,
    ConceptDirections,
    DirectionsResult,
    DoseEvidence,
    ElicitResult,
    LadderEvidence,
    PreflightResult,
    RelearnResult,
    SuiteResult,
    WayEvidence,
    WeightsResult,
)
from audit.evidence.text import deed
from audit.verdict.seen import Seen, seen_in

Lacking = Literal["tuned", "base"]
One = TypeVar("One")
WAYS = ("internal", "latents", "gates", "rewire")
"""What a verdict may read of a bypass: nothing of the other model enters."""
NO_GATES = "scaling of sparse gates (none was found that moves the behaviour)"


@dataclass(frozen=True)
class Results:
    """What the stages found; None: that stage did not run."""

    behaviour: BehaviourResult
    preflight: PreflightResult | None = None
    weights: WeightsResult | None = None
    elicit: ElicitResult | None = None
    directions: DirectionsResult | None = None
    bypass: BypassResult | None = None
    relearn: RelearnResult | None = None

    @classmethod
    def of(cls, run: RunFolder) -> Results:
        """Those of a run folder."""
        stages = ("preflight", "weights", "elicit", "directions", "bypass", "relearn")
        return cls(run.result("behaviour"), **{stage: run.optional(stage) for stage in stages})


def evidence_of(results: Results | RunFolder) -> list[LadderEvidence]:
    """One row per suite, in their order; what was not measured is None or empty."""
    if isinstance(results, RunFolder):
        results = Results.of(results)
    return [_of_suite(suite, results) for suite in results.behaviour.suites]


def _of_suite(suite: SuiteResult, results: Results) -> LadderEvidence:
    seen, primary = seen_in(suite), suite.primary
    lacking: Lacking = "base" if seen.moved == "rose" else "tuned"
    share = primary.gained_share if lacking == "base" else primary.lost_share
    return LadderEvidence(
        name=suite.name,
        **_pair(results),
        score=suite.score,
        entities=suite.entities,
        items=suite.items,
        lacking=lacking,
        measurable=suite.measurable,
        moved=seen.moved,
        seen=seen.said,
        band=suite.equivalence_band,
        change=primary.change.value,
        change_low=primary.change.low,
        change_high=primary.change.high,
        widest_change=_widest(seen, suite),
        lost=share and share.value,
        lost_low=share and share.low,
        asked=_asked(suite.name, results.elicit),
        **_known(_concept(suite.name, lacking, results.directions)),
        ways=_ways(_bypass(suite.name, lacking, results.bypass)),
        **_relearning(_named(results.relearn.behaviours if results.relearn else (), suite.name), lacking),
    )


def _pair(results: Results) -> dict[str, Any]:
    preflight, weights = results.preflight, results.weights
    facts: Any = preflight.facts.get("architecture") if preflight else None
    return {
        "architecture": facts.get("tuned") if isinstance(facts, dict) else None,
        "layers": preflight.layers if preflight else None,
        "parameters": weights.parameters if weights else None,
    }


def _widest(seen: Seen, suite: SuiteResult) -> float | None:
    ends = [end for result in suite.templates for end in (result.change.low, result.change.high)]
    sizes = [math.inf if end is None else abs(end) for end in ends]
    widest = max(sizes, default=math.inf)
    return widest if math.isfinite(widest) else None


def _asked(name: str, result: ElicitResult | None) -> str | None:
    """What prompting did; None where it was not tried."""
    found = _named(result.suites if result else (), name)
    return None if found is None or found.not_tried is not None else found.brings_back


def _concept(name: str, lacking: Lacking, result: DirectionsResult | None) -> ConceptDirections | None:
    if result is None:
        return None
    return _named(result.in_base if lacking == "base" else result.concepts, name)


def _known(found: ConceptDirections | None) -> dict[str, Any]:
    """Probes of the concept in both models; for a lacking base the two have changed places."""
    if found is None:
        return {}
    cell, along = found.chosen, found.carried.cosine if found.carried else None
    if found.unreadable is not None or cell is None:
        return {"unread": found.unreadable or "no layer was probed"}
    where = f"layer {cell.layer}, {cell.position} position, {found.entities_test} held-out entities"
    return {
        "known_where": where,
        "known_showing": cell.auc_base.value,
        "known_showing_low": cell.auc_base.low,
        "known": cell.auc_tuned.value,
        "known_low": cell.auc_tuned.low,
        "known_null": cell.null_high,
        "anywhere_showing": found.highest_auc_base,
        "anywhere": found.highest_auc_tuned,
        "anywhere_mlp": found.highest_mlp_tuned,
        "anywhere_null": found.highest_null_all,
        "carried": None if along is None else along.value,
    }


def _bypass(name: str, lacking: Lacking, result: BypassResult | None) -> BehaviourBypass | None:
    if result is None:
        return None
    return _named(result.in_base if lacking == "base" else result.behaviours, name)


def _ways(found: BehaviourBypass | None) -> dict[str, WayEvidence]:
    if found is None:
        return {}
    trials = {name: getattr(found, name) for name in WAYS}
    ways = {name: _way(trial) for name, trial in trials.items() if trial is not None}
    if found.gates is None and found.gates_learned == 0:
        ways["gates"] = WayEvidence(
            what=NO_GATES, recovered=0.0, low=0.0, high=0.0, control=None, controls="no control is needed",
            units=0, kl=0.0, skills=1.0, counts=False, why_not=["there is nothing to bring it back with"],
        )  # fmt: skip
    return ways


def _way(trial: BypassTrial) -> WayEvidence:
    share = trial.recovered
    return WayEvidence(
        what=f"{deed(trial.intervention)} of {trial.description} (dose {trial.dose:g})",
        recovered=share and share.value,
        low=share and share.low,
        high=share and share.high,
        control=trial.random_max,
        controls=f"{trial.random_sets} controls ({trial.controls})",
        units=trial.size,
        kl=trial.off_target_kl and trial.off_target_kl.value,
        skills=trial.skills,
        counts=trial.may_support,
        why_not=trial.why_not,
    )


def _relearning(found: BehaviourRelearning | None, lacking: Lacking) -> dict[str, Any]:
    if found is None or found.lacking != lacking:
        return {}
    doses = [
        DoseEvidence(
            steps=dose.steps,
            **_ends(dose.recovered),
            recovered_fit=dose.recovered_fit,
            control=dose.control,
        )
        for dose in found.doses
    ]
    return {"relearned": doses, "relearn_weaker": found.weaker}


def _ends(share: Estimate | None) -> dict[str, float | None]:
    if share is None:
        return {"recovered": None, "low": None, "high": None}
    return {"recovered": share.value, "low": share.low, "high": share.high}


def _named(entries: Iterable[One], name: str) -> One | None:
    """The entry of a result's list that is about one behaviour."""
    return next((e for e in entries if name in (getattr(e, "name", None), getattr(e, "suite", None))), None)
