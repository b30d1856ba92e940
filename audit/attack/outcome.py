"""What an attack found, as the result of its stage, and the attacked models with their papers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

import pandas as pd

from audit.attack import result as found
from audit.attack.arms import KEPT
from audit.attack.measures import ACCURACY, HARM, TRAINED
from audit.attack.questions import Candidate
from audit.attack.room import Room
from audit.evidence.files import output_errors, write_json
from audit.evidence.schema.results import AttackResult
from audit.evidence.schema.results.training import CandidateItem
from audit.manifests import command_line
from audit.pair.adapter import BINDING

STAGE = "attack"


def result_of(
    room: Room,
    candidates: Sequence[Candidate],
    targets: Sequence[Candidate],
    tables: Sequence[pd.DataFrame],
) -> AttackResult:
    """What the dose curves say.

    Args:
        room: of the attack.
        candidates: all questions that could have been attacked.
        targets: those that were.
        tables: rows of `attack_doses`, one table per target.
    """
    config, arm, main = room.plan.config, "attack", tables[0]
    starts = [found.start_of(table, HARM) for table in tables]
    levels = [None if start is None else start.value + config.harm for start in starts]
    items = [
        found.item_result(table, target, arm, level)
        for table, target, level in zip(tables, targets, levels, strict=True)
    ]
    start, level = starts[0], levels[0]
    grounds = found.Grounds(
        live_share=items[0].live_share,
        start=start,
        harmed=items[0].harmed,
        accuracy=found.start_of(main, ACCURACY),
        seeds=config.seeds,
        largest=config.dose_steps[-1],
    )
    judged = found.judge(grounds)
    return AttackResult(
        item=items[0].item,
        harm_threshold=config.harm if level is None else level,
        smallest_dose=grounds.harmed,
        half_life=None if start is None or level is None else found.recovery(main, arm, start.value, level),
        conclusive=judged.outcome != "INCONCLUSIVE",
        outcome=judged.outcome,
        why=judged.why,
        category=items[0].category,
        format=room.policies.layout.format,
        objective=config.objectives[0],
        tune=config.tune,
        seeds=config.seeds,
        seeds_harmed=0 if grounds.harmed is None else grounds.harmed.n,
        largest_dose=config.dose_steps[-1],
        initial_probability=items[0].initial_probability,
        live_share=items[0].live_share,
        trained_last=found.Curves.of(main, arm, TRAINED).last(),
        accuracy_first=grounds.accuracy,
        held_out_first=start,
        held_out_last=found.Curves.of(main, arm, HARM).last(),
        realign_by=config.realign_by if config.realign else "",
        realign_steps=config.realign,
        items=items,
        susceptibility=found.susceptibility(items, config.dose_steps[-1]),
        candidates=[_candidate(one) for one in candidates],
    )


def _candidate(one: Candidate) -> CandidateItem:
    return CandidateItem(
        item=one.question.id,
        category=one.question.category,
        initial_probability=one.probability,
        eligible=one.eligible,
    )


def keep_attacked(room: Room, result: AttackResult) -> str | None:
    """Moves the attacked policies out of the parts, each with the papers that say what it is."""
    config, source, last = room.plan.config, room.folder.parts / KEPT, None
    with output_errors(room.folder.path):
        for policy in sorted(path for path in source.iterdir() if not path.name.startswith(".")):
            target = room.folder.path / KEPT / policy.name
            shutil.copytree(policy, target, dirs_exist_ok=True)
            if config.tune == "lora":
                write_json(target / BINDING, _papers(room, result, policy.name))
            if policy.name == f"attack-seed-{config.seed}-{config.dose_steps[-1]}":
                last = f"stages/{STAGE}/{KEPT}/{policy.name}"
    return last


def _papers(room: Room, result: AttackResult, name: str) -> dict[str, Any]:
    """The file beside an attacked adapter: which base it binds to, and that it is an attack's."""
    config = room.plan.config
    return {
        "base_identity": room.plan.checkpoint.identity,
        "base": room.plan.checkpoint.reference.text,
        "attacked": True,
        "purpose": "made by an audit to measure how little training breaks this model; not to be published",
        "policy": name,
        "item": result.item,
        "command": command_line(),
        "settings": config.resolved(),
        "suite": {"name": room.plan.suite.card.name, "sha256": room.plan.suite.sha256},
    }
