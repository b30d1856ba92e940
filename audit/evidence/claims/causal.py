"""Sentences on what brings a behaviour back: other prompts, the base's weights, edits of the tuned model."""

from __future__ import annotations

from audit.evidence.claims.ledger import Ledger
from audit.evidence.schema.results import (
    ArmResult,
    BehaviourRelearning,
    BehaviourSwitches,
    BypassResult,
    BypassTrial,
    ElicitResult,
    RelearnDose,
    RelearnResult,
    SuiteElicitation,
    SwitchesResult,
    SwitchSet,
)
from audit.evidence.text import deed, text_of

ASKED = {
    "yes": "brings it back",
    "partly": "brings part of it back",
    "no": "does not bring it back",
    "unknown": "leaves it open",
}
SHAPES = {
    "localised": "sits in few units",
    "distributed": "is spread out: no set within the limit returns half of it",
    "unresolved": "is not located: a set returned it on the fit half and did not hold on held-out items",
}


def elicit(ledger: Ledger, result: ElicitResult) -> None:
    """Whether asking differently returns each behaviour, and the way of asking that returned most."""
    for i, found in enumerate(result.suites):
        if found.not_tried is None:
            _asked(ledger, found, f"/suites/{i}")


def _asked(ledger: Ledger, found: SuiteElicitation, at: str) -> None:
    name, arms = f"elicit/{found.suite}", len(found.arms)
    statement = f"{found.suite}: asking the tuned model differently ({arms} ways) {ASKED[found.brings_back]}."
    ledger.add(name, "elicit", f"{at}/brings_back", statement, found.brings_back, n=found.entities)
    best = found.best
    if best is None or best.recovered is None:
        return
    statement = (
        f"{found.suite}: {best.arm} {best.variant} returns {text_of(best.recovered)} of the change, more "
        f"than any other prompt; beyond what it does to the base, {_beyond(best)}."
    )
    test = "paired bootstrap over entities; the largest of several, which is optimistic"
    ledger.add(f"{name}/best", "elicit", f"{at}/best/recovered", statement, best.recovered, test=test)


def _beyond(arm: ArmResult) -> str:
    return "not measured" if arm.beyond_base is None else text_of(arm.beyond_base)


def switches(ledger: Ledger, result: SwitchesResult) -> None:
    """Where the weights hold each change: its shape, the smallest set, how complete the attribution is."""
    for i, found in enumerate(result.behaviours):
        if found.searched:
            _located(ledger, found, result.largest, f"/behaviours/{i}")


def _located(ledger: Ledger, found: BehaviourSwitches, largest: int, at: str) -> None:
    name = f"switches/{found.name}"
    if found.shape is not None:
        statement = f"{found.name}: the change {SHAPES[found.shape]} (sets of up to {largest} units)."
        ledger.add(f"{name}/shape", "switches", f"{at}/shape", statement, found.shape, n=found.entities)
    if found.completeness_gap is not None:
        statement = (
            f"{found.name}: the attribution over all weights misses the measured change by "
            f"{found.completeness_gap:.1%} ({found.steps} gradients along the path)."
        )
        pointer = f"{at}/completeness_gap"
        ledger.add(f"{name}/completeness_gap", "switches", pointer, statement, found.completeness_gap)
    if found.best_graft is not None and found.best_graft_recovered is not None:
        statement = (
            f"{found.name}: the base's {found.best_graft} alone, put into the tuned model, returns "
            f"{found.best_graft_recovered:.1%} of the change on the fit half."
        )
        pointer = f"{at}/best_graft_recovered"
        ledger.add(f"{name}/graft", "switches", pointer, statement, found.best_graft_recovered)
    if found.set is not None and found.set.recovered is not None:
        _set(ledger, found.name, found.set, f"{at}/set")


def _set(ledger: Ledger, behaviour: str, chosen: SwitchSet, at: str) -> None:
    if chosen.recovered is None:
        return
    statement = (
        f"{behaviour}: {chosen.size} {chosen.kind}(s) with the base's weights return "
        f"{text_of(chosen.recovered)} of the change on held-out items; they carry "
        f"{chosen.carried:.1%} of the attributed push."
    )
    null = (
        "no random sets"
        if chosen.random_max is None
        else f"{chosen.random_sets} random sets of equal size, or of equal norm: R at most "
        f"{chosen.random_max:.2f}"
    )
    ledger.add(
        f"switches/{behaviour}/set", "switches", f"{at}/recovered", statement, chosen.recovered,
        test="paired bootstrap over entities; chosen on the fit half", null=null,
        preconditions=list(chosen.why_not),
    )  # fmt: skip


def bypass(ledger: Ledger, result: BypassResult) -> None:
    """What brings each behaviour back inside the tuned model, and what only locates the change."""
    for i, found in enumerate(result.behaviours):
        for way in ("internal", "latents", "gates", "rewire", "revert", "reading_base"):
            trial: BypassTrial | None = getattr(found, way)
            if trial is not None and trial.recovered is not None:
                _trial(ledger, found.name, f"{found.name}/{way}", trial, f"/behaviours/{i}/{way}")
    for i, found in enumerate(result.in_base):
        for way in ("gates", "rewire"):
            trial = getattr(found, way)
            if trial is not None and trial.recovered is not None:
                inside = f"{found.name}, inside the base"
                _trial(ledger, inside, f"{found.name}/in-base/{way}", trial, f"/in_base/{i}/{way}")


def _trial(ledger: Ledger, behaviour: str, name: str, trial: BypassTrial, at: str) -> None:
    if trial.recovered is None:
        return
    cost = "not measured" if trial.off_target_kl is None else f"{text_of(trial.off_target_kl)} nats per token"
    null = (
        "no controls"
        if trial.random_max is None
        else f"{trial.random_sets} controls ({trial.controls}), R at most {trial.random_max:.2f}"
    )
    statement = (
        f"{behaviour}: {deed(trial.intervention)} of {trial.description} at dose {trial.dose:g} recovers "
        f"{text_of(trial.recovered)} of the change on held-out items; KL on unrelated text {cost}."
    )
    ledger.add(
        f"bypass/{name}", "bypass", f"{at}/recovered", statement, trial.recovered,
        test="paired bootstrap over entities; chosen on the fit half", null=null,
        preconditions=list(trial.why_not),
    )  # fmt: skip


def relearn(ledger: Ledger, result: RelearnResult) -> None:
    """What some steps of training bring back on entities that were not trained on."""
    for i, found in enumerate(result.behaviours):
        for j, dose in enumerate(found.doses):
            if dose.recovered is not None:
                _dose(ledger, found, dose, f"/behaviours/{i}/doses/{j}/recovered")


def _dose(ledger: Ledger, found: BehaviourRelearning, dose: RelearnDose, at: str) -> None:
    if dose.recovered is None:
        return
    on_fit = "not measured" if dose.recovered_fit is None else f"{dose.recovered_fit:.2f}"
    statement = (
        f"{found.name}: {dose.steps} steps of training the {found.lacking} model on one half of the entities "
        f"recover {text_of(dose.recovered)} of the change on the other half ({on_fit} on the trained ones)."
    )
    null = "no control"
    if dose.control is not None:
        taught = f"{len(dose.controls)} trainings on classes that the model never had"
        null = f"{taught}, R at most {dose.control:.2f}"
    ledger.add(
        f"relearn/{found.name}/{dose.steps}", "relearn", at, statement, dose.recovered,
        test="paired bootstrap over entities", null=null,
        preconditions=[] if found.weaker is None else [found.weaker],
    )  # fmt: skip
