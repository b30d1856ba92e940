"""`audit attack`: the main path, from the model to the run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from audit.attack.arms import Done, Lab, run_arm
from audit.attack.config import AttackConfig
from audit.attack.figure import write_figures
from audit.attack.kinds import Arm, arms_of
from audit.attack.outcome import STAGE, keep_attacked, result_of
from audit.attack.plan import Plan, make_plan
from audit.attack.room import enter, targets_of
from audit.errors import memory_errors
from audit.evidence.claims import LEDGERS
from audit.evidence.files import output_errors
from audit.evidence.provenance import versions
from audit.evidence.run import RunFolder, writing_run
from audit.evidence.schema.results import AttackResult
from audit.evidence.stage import StageFolder, run_stage
from audit.manifests import default_out, new_manifest, to_toml
from audit.progress import Progress
from audit.train.errors import training_errors


def run_attack(config: AttackConfig, progress: Progress) -> RunFolder:
    """Attacks one's own model and returns the run folder that holds the dose curves.

    Raises:
        AuditError: something is wrong that the user can mend; nothing half-written stays behind.
    """
    plan = make_plan(config, progress)
    config = plan.config
    path = Path(config.out) if config.out else default_out(config.resolved(), "attack", config.model)
    suites = {suite.card.name: suite.sha256 for suite in (plan.suite, plan.pairs) if suite is not None}
    manifest = new_manifest(
        "attack",
        base=plan.checkpoint,
        tuned=None,
        dtype=config.dtype,
        device=config.device,
        seed=config.seed,
        data=suites,
    )
    made_of = {"model": plan.checkpoint.identity, "data": suites, "versions": versions()}
    inputs = {**made_of, **config.resolved()}
    with writing_run(path, manifest, to_toml(config.resolved())) as run, memory_errors():
        run_stage(run, STAGE, inputs, partial(_attack, plan))
        run.write_claims(LEDGERS["attack"](run))
    return run


def _attack(plan: Plan, folder: StageFolder) -> AttackResult:
    """Runs every arm at every seed; finished ones lie among the stage's parts, so a kill undoes little."""
    config = plan.config
    with training_errors():
        room = enter(plan, folder)
        candidates, targets = targets_of(room)
        seeds = range(config.seed, config.seed + config.seeds)
        labs = [room.lab(target, number) for number, target in enumerate(targets)]
        work = [
            (lab, arm, seed)
            for number, lab in enumerate(labs)
            for arm in (arms_of(config) if number == 0 else arms_of(config)[:1])
            for seed in seeds
        ]
        done = list(_run_all(plan, work))
    tables = [
        pd.concat(
            [of.doses for (lab, _, _), of in zip(work, done, strict=True) if lab is one], ignore_index=True
        )
        for one in labs
    ]
    _write(folder, tables[0], done)
    result = result_of(room, candidates, targets, tables)
    return result.model_copy(update={"adapter": keep_attacked(room, result)})


def _run_all(plan: Plan, work: Sequence[tuple[Lab, Arm, int]]) -> Iterator[Done]:
    for lab, arm, seed in work:
        looks = len(lab.doses) + (len(lab.config.realign_steps) if arm.realigned else 0)
        title = f"{arm.name}, seed {seed}" + (f", {lab.target.question.id}" if lab.prefix else "")
        with plan.progress.task(title[:1].upper() + title[1:], looks) as advance:
            yield run_arm(lab, arm, seed, advance)


def _write(folder: StageFolder, doses: pd.DataFrame, done: Sequence[Done]) -> None:
    folder.write_table("attack_doses", doses)
    for name, frames in (("train_steps", [d.steps for d in done]), ("tokens", [d.tokens for d in done])):
        full = [frame for frame in frames if len(frame)]
        folder.write_table(name, pd.concat(full, ignore_index=True) if full else frames[0])
    with output_errors(folder.path):
        write_figures(doses, folder.path)
