"""How easily does it come back by training? A few steps on one half of the entities, read on the other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from audit.behaviours.suite import Suite
from audit.evidence.schema import TABLES
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import (
    BehaviourRelearning,
    BehaviourResult,
    RelearnDose,
    RelearnResult,
    SuiteResult,
)
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.stages.changed import FIT_ITEMS, setting_of, unchanged

if TYPE_CHECKING:
    from audit.causal.relearn import Half, Lesson, RelearnSettings
    from audit.measures.bootstrap import FloatArray

Lacking = Literal["tuned", "base"]
BEHAVIOUR, CONTROL = "behaviour", "control"
"""Arms: what was lost is taught again, or classes that the model never had are taught."""
LEVEL = (
    "a level is the same for every entity, so that learning it on some needs to know nothing of the others"
)
SINGLE = "no entity has two items: the halves differ in their items, not in whom they speak of"
NO_STEPS = "the preset {preset} has no steps for it"


def run(audit: AuditInputs, folder: StageFolder, behaviours: BehaviourResult) -> RelearnResult:
    """Teaches every changed behaviour again to the model that lacks it (each part survives a kill)."""
    found, frames = [], []
    for suite, result in zip(audit.suites, behaviours.suites, strict=True):
        known = describe(audit, suite, result)
        if known.not_tried is None:
            rows = folder.part(result.name, "relearning", partial(_rows, audit, suite, result, known))
            known = summarise(known, rows)
            frames.append(rows)
        found.append(known)
    folder.write_table("relearning", pd.concat(frames, ignore_index=True) if frames else _no_rows())
    settings = settings_of(audit)
    return RelearnResult(behaviours=found, rate=settings.rate, items_per_step=settings.items)


def describe(audit: AuditInputs, suite: Suite, result: SuiteResult) -> BehaviourRelearning:
    """What is known before any model is trained."""
    why = unchanged(result)
    if not audit.preset.relearn_steps:
        why = NO_STEPS.format(preset=audit.config.preset)
    own = [item.entity for item in suite.items]
    return BehaviourRelearning(
        name=result.name,
        template=result.primary_template,
        lacking="base" if result.primary.change.value > 0 else "tuned",
        entities=result.primary.change.n,
        controls_wanted=audit.preset.relearn_controls,
        weaker=LEVEL if suite.card.contrast is None else SINGLE if len(set(own)) == len(own) else None,
        not_tried=why,
    )


def settings_of(audit: AuditInputs) -> RelearnSettings:
    """Steps by the preset, everything else as in the run."""
    from audit.causal.relearn import RelearnSettings

    config = audit.config
    return RelearnSettings(audit.preset.relearn_steps, batch_size=config.batch_size, seed=config.seed)


def summarise(known: BehaviourRelearning, rows: pd.DataFrame) -> BehaviourRelearning:
    """The doses that the rows of the table say."""
    own = rows[rows["arm"] == BEHAVIOUR].sort_values("steps")
    controls = rows[rows["arm"] == CONTROL].dropna(subset="recovered")
    doses = [
        RelearnDose(
            steps=int(row["steps"]),
            recovered=_estimate(row, known.entities),
            recovered_fit=_number(row["recovered_fit"]),
            controls=[float(r) for r in controls[controls["steps"] == row["steps"]]["recovered"]],
        )
        for _, row in own.iterrows()
    ]
    return known.model_copy(update={"doses": doses, "items": int(own["items"].max())})


def _rows(audit: AuditInputs, suite: Suite, result: SuiteResult, known: BehaviourRelearning) -> pd.DataFrame:
    from audit.causal.relearn import Half, Lesson, never_had

    setting, batch = setting_of(audit, suite, result), audit.config.batch_size
    halves = [setting.objective("train", FIT_ITEMS[audit.config.preset]), setting.objective("test")]
    showing: Literal["base", "tuned"] = "tuned" if known.lacking == "base" else "base"
    with audit.pair.model(showing) as model:
        lesson = Lesson(*(Half(half, half.scores(model, batch).numpy()) for half in halves))
    with audit.pair.model(known.lacking) as model:
        before = halves[0].scores(model, batch).numpy(), halves[1].scores(model, batch).numpy()
    seeds = range(audit.config.seed * 1000, audit.config.seed * 1000 + known.controls_wanted)
    arms = [(BEHAVIOUR, lesson), *((CONTROL, never_had(lesson, before, seed)) for seed in seeds)]
    rows = [row for k, (arm, one) in enumerate(arms) for row in _of_arm(audit, known, arm, k, one, before)]
    return pd.DataFrame(rows, columns=[column.name for column in TABLES["relearning"].columns])


def _of_arm(
    audit: AuditInputs,
    known: BehaviourRelearning,
    arm: str,
    number: int,
    lesson: Lesson,
    before: tuple[FloatArray, FloatArray],
) -> list[dict[str, Any]]:
    """Rows of one training, dose by dose."""
    from audit.causal.relearn import relearned

    settings = settings_of(audit)
    title = f"{known.name}: relearning, {arm if arm == BEHAVIOUR else f'{arm} {number}'}"
    with (
        audit.progress.task(title, max(settings.doses)) as advance,
        audit.pair.model(known.lacking) as model,
    ):
        taught = relearned(model, lesson, settings, advance)
    own = {"behaviour": known.name, "template": known.template, "model": known.lacking, "arm": arm}
    rows = []
    for one in taught:
        on_fit = _share(audit, lesson.fit, before[0], one.fit)
        held = _share(audit, lesson.held, before[1], one.held)
        rows.append(
            {
                **own,
                "number": number,
                "steps": one.steps,
                "items": len(lesson.fit.objective),
                "recovered": held and held.value,
                "low": held and held.low,
                "high": held and held.high,
                "recovered_fit": on_fit and on_fit.value,
            }
        )
    return rows


def _share(audit: AuditInputs, half: Half, before: FloatArray, now: FloatArray | None) -> Estimate | None:
    """R of some scores, and its interval where there is a gap to recover."""
    from audit.causal.doses import shares_of

    if now is None:
        return None
    draws, seed = audit.preset.draws, audit.config.seed
    (share,) = shares_of(half.objective, half.target, before, [now], draws=draws, seed=seed)
    return Estimate.of(share)


def _estimate(row: pd.Series, entities: int) -> Estimate | None:
    value = _number(row["recovered"])
    if value is None:
        return None
    return Estimate(value=value, low=_number(row["low"]), high=_number(row["high"]), n=entities)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame({column.name: [] for column in TABLES["relearning"].columns})
