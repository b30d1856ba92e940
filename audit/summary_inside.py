"""What was seen inside the models: a few lines for people, the numbers for machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import (
    BehaviourBypass,
    BehaviourRelearning,
    BehaviourSwitches,
    BypassResult,
    BypassTrial,
    ConceptDirections,
    DirectionsResult,
    ElicitResult,
    FeaturesResult,
    HookFeatures,
    RelearnResult,
    SuiteElicitation,
    SwitchesResult,
)
from audit.evidence.text import deed, share_text, text_of
from audit.terminal import printable

Lines = Iterator[str]
WAYS = {
    "internal": "inside the tuned model: ",
    "latents": "latents taken out: ",
    "gates": "learned gates: ",
    "rewire": "by a new wire: ",
    "revert": "with the base's weights: ",
    "reading_base": "with the base's activations: ",
}
SHOWN = 3
"""Latents of a kind that are named; the table has all."""
CHANGED_KINDS = ("base only", "tuned only", "rotated", "silenced", "unsure")


def inside_lines(run: RunFolder) -> Table:
    """One row per statement: the stage at the left, where it begins."""
    grid = Table.grid(padding=(0, 2))
    for stage, say in STAGES.items():
        for i, line in enumerate(_lines(run, stage, say)):
            grid.add_row(Text(stage if i == 0 else "", style="bold"), Text(printable(line)))
    return grid


def inside_json(run: RunFolder) -> dict[str, Any]:
    """The results of the optional stages, whole; null for what was skipped."""
    found = {stage: run.optional(stage) for stage in STAGES}
    return {
        stage: None if result is None else result.model_dump(mode="json") for stage, result in found.items()
    }


def _lines(run: RunFolder, stage: str, say: Callable[[Any], Lines]) -> Lines:
    result = run.optional(stage)
    if result is not None:
        return say(result)
    state = run.manifest().stages.get(stage)
    return iter([f"not run: {state.reason}"] if state is not None and state.reason else ["not run"])


def _elicit(result: ElicitResult) -> Lines:
    for found in result.suites:
        yield f"{found.suite}: {_asked(found)}"


def _asked(found: SuiteElicitation) -> str:
    best = found.best
    if found.not_tried is not None:
        return f"not asked differently, {found.not_tried}"
    if best is None or best.recovered is None:
        return "no way of asking could be read"
    words = {"yes": "brings it back", "partly": "brings part of it back", "no": "does not bring it back"}
    answer = words.get(found.brings_back, "leaves it open")
    named = f"best of {len(found.arms)} ways: {best.arm} {best.variant}".rstrip()
    return f"asking differently {answer}; {named}, R {_share(best.recovered)}"


def _directions(result: DirectionsResult) -> Lines:
    for found in result.concepts:
        yield f"{found.suite}: {_direction(found)}"


def _direction(found: ConceptDirections) -> str:
    cell = found.chosen
    if cell is None:
        return f"no concept was probed: {found.unreadable}"
    aucs = f"AUC base {cell.auc_base.value:.2f}, tuned {cell.auc_tuned.value:.2f}"
    said = f"decodable in the tuned model: {found.decodable} ({aucs}, shuffled up to {cell.null_high:.2f}"
    said += f"; layer {cell.layer}, {cell.position})"
    if cell.measurable and cell.cosine is not None and cell.norm_ratio is not None:
        said += f"; direction's cosine {cell.cosine.value:.3f}, norm ratio {cell.norm_ratio.value:.2f}"
    return said


def _features(result: FeaturesResult) -> Lines:
    for found in result.hooks:
        yield _hook(found)
        yield from _latents(found)
    reached = ", ".join(f"{null.kl_reached:.3g}" for null in result.nulls)
    if result.nulls:
        target = f"the tuned model is {result.nulls[0].kl_target:.3g} nats per token from the base"
        yield f"{len(result.nulls)} benign fine-tune(s) as the null, at {reached}; {target}"
    yield from (f"not measured: {what}" for what in result.not_measured)


def _latents(found: HookFeatures) -> Lines:
    for one in found.findings[:SHOWN]:
        recurs = "" if one.seed_recurrence is None else f", in {one.seed_recurrence:.0%} of other seeds"
        yield f"latent {one.latent} of {found.hook} is {one.kind}: q {one.q_value:.2g}{recurs}"
    for lost in found.silenced[:SHOWN]:
        went = f"{lost.effect_base:.3g} to {lost.effect_tuned:.3g}, q {lost.q_value:.2g}"
        yield f"latent {lost.latent} of {found.hook} is silenced: on {lost.behaviour} from {went}"
    if (more := _beyond(found.findings) + _beyond(found.silenced)) > 0:
        yield f"{more} more latents of {found.hook} in the table features"


def _beyond(found: Sequence[object]) -> int:
    return max(0, len(found) - SHOWN)


def _hook(found: HookFeatures) -> str:
    fve = (
        " and ".join(share_text(v) for v in (found.fve_base, found.fve_tuned) if v is not None) or "undefined"
    )
    kinds = ", ".join(f"{found.kinds.get(kind, 0)} {kind}" for kind in CHANGED_KINDS)
    health = f"FVE {fve}, L0 {found.l0:.0f}, dead {found.dead_share:.0%}"
    return f"{found.hook}, {found.dictionary} of {found.latents} latents: {kinds} ({health})"


def _switches(result: SwitchesResult) -> Lines:
    for found in result.behaviours:
        yield f"{found.name}: {_located(found, result.largest)}"


def _located(found: BehaviourSwitches, largest: int) -> str:
    if not found.searched:
        return f"not searched, {found.why_not}"
    chosen = found.set
    said: str = found.shape or "unresolved"
    if chosen is None:
        said += f": no set of up to {largest} units returns half of it"
    else:
        held = "undefined" if chosen.recovered is None else _share(chosen.recovered)
        controls = "none" if chosen.random_max is None else f"up to {chosen.random_max:.0%}"
        said += f": {chosen.size} {chosen.kind}(s) with the base's weights, R {held}; random sets {controls}"
        said += "".join(f"; {why}" for why in chosen.why_not)
    if found.best_graft is not None and found.best_graft_recovered is not None:
        said += f"; one module most: {found.best_graft}, {found.best_graft_recovered:.0%}"
    return said


def _bypass(result: BypassResult) -> Lines:
    for inside, found in _bypassed(result):
        for way, words in WAYS.items():
            trial: BypassTrial | None = getattr(found, way)
            if trial is not None:
                yield f"{found.name}{inside}, {words}{_trial(trial)}"
        yield from (f"{found.name}: not measured: {what}" for what in found.not_measured)


def _bypassed(result: BypassResult) -> Iterator[tuple[str, BehaviourBypass]]:
    yield from (("", found) for found in result.behaviours)
    yield from ((", inside the base", found) for found in result.in_base)


def _trial(trial: BypassTrial) -> str:
    recovered = "broke the model" if trial.recovered is None else f"R {_share(trial.recovered)}"
    controls = "no controls" if trial.random_max is None else f"controls up to {trial.random_max:.0%}"
    cost = "" if trial.off_target_kl is None else f", KL elsewhere {trial.off_target_kl.value:.3g}"
    budget = "" if trial.inside_budget else " (over budget)"
    what = f"{deed(trial.intervention)} of {trial.description}, dose {trial.dose:g}"
    return f"{what}: {recovered}; {controls}{cost}{budget}"


def _relearn(result: RelearnResult) -> Lines:
    for found in result.behaviours:
        yield f"{found.name}: {_relearned(found)}"


def _relearned(found: BehaviourRelearning) -> str:
    if found.not_tried is not None:
        return f"not trained again, {found.not_tried}"
    doses = [f"{d.steps} steps {_share(d.recovered)}" for d in found.doses if d.recovered is not None]
    controls = [dose.control for dose in found.doses if dose.control is not None]
    null = f"; classes never had up to {max(controls):.0%}" if controls else "; no controls"
    weaker = "" if found.weaker is None else f"; weaker: {found.weaker}"
    return f"R on entities not trained on, {', '.join(doses) or 'none: it broke the model'}{null}{weaker}"


def _share(estimate: Estimate) -> str:
    return text_of(estimate, ".0%")


STAGES: dict[str, Callable[[Any], Lines]] = {
    "elicit": _elicit,
    "directions": _directions,
    "features": _features,
    "switches": _switches,
    "bypass": _bypass,
    "relearn": _relearn,
}
"""Optional stages and what is said of each."""
