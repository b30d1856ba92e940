"""The evidence ladder: for every behaviour, every kind of evidence with its number and its null.

What was not measured has a rung too, with the reason. The overview, the comparison of runs and the export
read the same rungs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import BehaviourRelearning, BypassTrial, SuiteResult
from audit.evidence.text import text_of
from dashboards.store import Store

BLACK_BOX, WHITE_BOX, LOCATES = "asking differently", "inside the tuned model", "with the base's weights"
TRAINED = "by training again"
"""Whose word a recovered share is: only the second is evidence that the tuned model itself still can."""
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Rung:
    """One piece of evidence on one behaviour."""

    behaviour: str
    evidence: str
    """Which: the row of the matrix."""
    page: str
    """Page that shows more of it."""
    estimate: Estimate | None = None
    said: str = ""
    """What stands beside the number: its null, its controls, what it means."""
    why_not: str = ""
    """Why it was not measured, where it was not."""
    side: str = ""
    """For recovered shares: black box, white box, or only locating."""
    null: float | None = None
    """For recovered shares: the largest of its controls."""

    @property
    def text(self) -> str:
        """The cell: number and interval with what stands beside it, or `not measured`."""
        if self.estimate is None:
            return f"{NOT_MEASURED}: {self.why_not}" if self.why_not else self.said or NOT_MEASURED
        number = text_of(self.estimate, ".2f")
        return f"{number}; {self.said}" if self.said else number


def behaviours(store: Store) -> list[str]:
    """Names of the run's behaviours, in the order of the verdicts."""
    verdict, behaviour = store.result("verdict"), store.result("behaviour")
    found = [one.name for one in verdict.behaviours] if verdict else []
    return found or ([suite.name for suite in behaviour.suites] if behaviour else [])


def rungs(store: Store) -> list[Rung]:
    """All rungs of all behaviours, from the outside to the inside."""
    return [rung for name in behaviours(store) for climb in CLIMBS for rung in climb(store, name)]


def matrix(found: Sequence[Rung]) -> pd.DataFrame:
    """Evidence as rows, behaviours as columns, cells as text."""
    names = list(dict.fromkeys(rung.behaviour for rung in found))
    rows = list(dict.fromkeys(rung.evidence for rung in found))
    cells = {(rung.evidence, rung.behaviour): rung.text for rung in found}
    columns = {name: [cells.get((row, name), NOT_MEASURED) for row in rows] for name in names}
    return pd.DataFrame({"evidence": rows, **columns})


def recovered(found: Sequence[Rung], behaviour: str) -> list[Rung]:
    """The rungs that are shares of the lost behaviour brought back."""
    return [rung for rung in found if rung.behaviour == behaviour and rung.side]


def _behaviour(store: Store, name: str) -> Iterator[Rung]:
    suite = _named(store.result("behaviour"), "suites", name)
    if suite is None:
        yield Rung(name, "change of the behaviour", "behaviours", why_not=store.why_missing("behaviour"))
        return
    primary = suite.primary
    band = f"tuned minus base, {suite.unit}; no change within ±{suite.equivalence_band:g}"
    yield Rung(name, "change of the behaviour", "behaviours", primary.change, band)
    yield _lost(name, suite)


def _lost(name: str, suite: SuiteResult) -> Rung:
    q = suite.primary.q_value
    said = f"of the base's effect; q {q:.2g}" if q is not None else "of the base's effect"
    why = "the base is not clearly above its null"
    return Rung(name, "share lost", "behaviours", suite.primary.lost_share, said, why)


def _asked(store: Store, name: str) -> Iterator[Rung]:
    found = _named(store.result("elicit"), "suites", name)
    rows = ("brought back by prompting", "the same, beyond the base")
    if found is None or found.best is None:
        why = store.why_missing("elicit") if found is None else found.not_tried or "no prompt could be read"
        yield from (Rung(name, row, "behaviours", why_not=why) for row in rows)
        return
    best = found.best
    words = {"yes": "brings it back", "partly": "brings part back", "no": "does not bring it back"}
    said = f"best of {len(found.arms)} ways ({best.arm} {best.variant}): "
    said += words.get(found.brings_back, "leaves it open")
    controls = [arm.recovered.value for arm in found.arms if arm.is_control and arm.recovered]
    null = max(controls, default=None)
    why = "the gap on these items may be 0"
    yield Rung(name, rows[0], "behaviours", best.recovered, said, why, BLACK_BOX, null)
    yield Rung(
        name, rows[1], "behaviours", best.beyond_base, "what the prompt does to the base taken off", why
    )


def _decodable(store: Store, name: str) -> Iterator[Rung]:
    found = _named(store.result("directions"), "concepts", name, "suite")
    rows = ("concept decodable, base", "concept decodable, tuned")
    if found is None or found.chosen is None:
        why = store.why_missing("directions") if found is None else found.unreadable or "it has no concept"
        yield from (Rung(name, row, "directions", why_not=why) for row in rows)
        return
    cell = found.chosen
    where = f"probe AUC, layer {cell.layer}, {cell.position}"
    yield Rung(name, rows[0], "directions", cell.auc_base, f"{where}: {found.base_decodable}")
    null = f"shuffled classes reach {cell.null_high:.2f}: {found.decodable}"
    yield Rung(name, rows[1], "directions", cell.auc_tuned, null)


def _latents(store: Store, name: str) -> Iterator[Rung]:
    found = store.result("features")
    if found is None:
        yield Rung(name, "latents that changed", "diff_map", why_not=store.why_missing("features"))
        return
    switched = sum(len(hook.findings) for hook in found.hooks)
    lost = sum(one.behaviour == name for hook in found.hooks for one in hook.silenced)
    live = sum(hook.live for hook in found.hooks)
    said = f"{switched} switched (any behaviour), {lost} silenced for it, of {live} live"
    yield Rung(name, "latents that changed", "diff_map", said=said)


def _located(store: Store, name: str) -> Iterator[Rung]:
    found = _named(store.result("switches"), "behaviours", name, "name")
    row = "brought back by reverting weights"
    chosen = None if found is None else found.set
    if found is None or chosen is None:
        why = store.why_missing("switches") if found is None else found.why_not or "no set was found"
        yield Rung(name, row, "switches", why_not=why)
        return
    said = f"{chosen.size} {chosen.kind}(s), {found.shape}; {_controls(chosen.random_max)}"
    why = "what was lost on held-out items may be 0"
    yield Rung(name, row, "switches", chosen.recovered, said, why, LOCATES, chosen.random_max)


def _bypassed(store: Store, name: str) -> Iterator[Rung]:
    found = _named(store.result("bypass"), "behaviours", name, "name")
    ways = {
        "internal": "brought back inside",
        "latents": "brought back by removing latents",
        "gates": "brought back by learned gates",
        "rewire": "brought back by a new wire",
    }
    for field, row in ways.items():
        trial = None if found is None else getattr(found, field, None)
        if found is None or trial is None:
            why = (
                store.why_missing("bypass") if found is None else "; ".join(found.not_measured) or "not tried"
            )
            yield Rung(name, row, "switches", why_not=why)
        else:
            yield _trial(name, row, trial)


def _trial(name: str, row: str, trial: BypassTrial) -> Rung:
    budget = "inside the budgets" if trial.inside_budget else "side effects outside the budgets"
    said = f"{trial.intervention} {trial.set}; {_controls(trial.random_max)}; {budget}"
    return Rung(
        name, row, "switches", trial.recovered, said, "it broke the model", WHITE_BOX, trial.random_max
    )


def _relearned(store: Store, name: str) -> Iterator[Rung]:
    found: BehaviourRelearning | None = _named(store.result("relearn"), "behaviours", name, "name")
    if found is None or not found.doses:
        why = store.why_missing("relearn") if found is None else found.not_tried or "nothing was read"
        yield Rung(name, "relearned", "switches", why_not=why)
        return
    for dose in found.doses:
        on_fit = "" if dose.recovered_fit is None else f"; {dose.recovered_fit:.2f} on the trained ones"
        said = f"on entities not trained on{on_fit}; {_controls(dose.control)}"
        row = f"relearned in {dose.steps} steps"
        yield Rung(name, row, "switches", dose.recovered, said, "it broke the model", TRAINED, dose.control)


def _controls(largest: float | None) -> str:
    return "no controls" if largest is None else f"controls at most {largest:.2f}"


def _named(result: Any, field: str, name: str, key: str = "") -> Any:
    """The entry of a result's list that is about one behaviour."""
    entries = getattr(result, field) if result is not None else []
    return next((e for e in entries if getattr(e, key or _key(field, e)) == name), None)


def _key(field: str, entry: Any) -> str:
    return "suite" if field == "suites" and hasattr(entry, "suite") else "name"


Climb = Callable[[Store, str], Iterator[Rung]]
CLIMBS: tuple[Climb, ...] = (_behaviour, _asked, _decodable, _latents, _located, _bypassed, _relearned)
"""From what shows outside to what was found inside."""


def health(store: Store) -> pd.DataFrame:
    """One row per hook point: how good its dictionary is, before anything is read off its latents."""
    found = store.result("features")
    rows = [] if found is None else [_health(hook) for hook in found.hooks]
    return pd.DataFrame(rows)


def _health(hook: Any) -> dict[str, Any]:
    kl, ce = _two(hook.recovered_kl), _two(hook.recovered_ce)
    return {
        "hook": hook.hook,
        "dictionary": hook.dictionary,
        "latents": hook.latents,
        "live": hook.live,
        "dead share": hook.dead_share,
        "L0": hook.l0,
        "FVE base": hook.fve_base,
        "FVE tuned": hook.fve_tuned,
        "loss recovered, base": ce[0],
        "loss recovered, tuned": ce[1],
        "KL recovered, base": kl[0],
        "KL recovered, tuned": kl[1],
        "held out": hook.held_out,
        "seeds": hook.seeds,
        "recurring in other seeds": hook.recurring,
        "described": hook.described,
    }


def _two(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    padded = [*values, None, None]
    return padded[0], padded[1]


def warnings(store: Store) -> pd.DataFrame:
    """What the stages warned of and what they could not measure, with the stage that says so."""
    fields = {
        "preflight": "warnings",
        "behaviour": "warnings",
        "features": "not_measured",
        "switches": "warnings",
        "bypass": "not_measured",
    }
    rows = [
        {"stage": stage, "warning": said}
        for stage, field in fields.items()
        for said in (getattr(store.result(stage), field) if store.result(stage) else [])
    ]
    return pd.DataFrame(rows, columns=["stage", "warning"])
