"""`audit attack`: the main path, from the model to the run folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from audit.attack.config import AttackConfig
from audit.attack.questions import (
    OPTIONS,
    Candidate,
    Posed,
    Question,
    by_name,
    candidates_of,
    choose,
    questions_of,
)
from audit.behaviours.load import load_suite
from audit.behaviours.suite import Suite
from audit.errors import AuditError, SuiteError, UsageError, memory_errors
from audit.evidence.claims import LEDGERS
from audit.evidence.files import output_errors, write_json
from audit.evidence.provenance import versions
from audit.evidence.run import RunFolder, writing_run
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import AttackResult
from audit.evidence.schema.results.training import AttackedItem, CandidateItem
from audit.evidence.stage import StageFolder, run_stage
from audit.manifests import command_line, default_out, new_manifest, to_toml
from audit.pair.adapter import BINDING
from audit.pair.checkpoint import Checkpoint, LoadOptions, resolve
from audit.progress import Progress
from training.errors import TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from audit.attack.answers import Asker
    from audit.attack.arms import Arm, Done, Lab
    from audit.attack.policies import Policies
    from training.reference import Stored

STAGE = "attack"
BILLION = 1_000_000_000
COT_TOKENS = 256
"""Tokens of a rollout that reasons."""


@dataclass(frozen=True)
class Plan:
    """Everything that an attack starts from."""

    config: AttackConfig
    checkpoint: Checkpoint
    suite: Suite
    questions: tuple[Question, ...]
    pairs: Suite | None
    progress: Progress


def run_attack(config: AttackConfig, progress: Progress) -> RunFolder:
    """Attacks one's own model and returns the run folder that holds the dose curves.

    Raises:
        AuditError: something is wrong that the user can mend; nothing half-written stays behind.
    """
    plan = _prepare(config, progress)
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


def _prepare(config: AttackConfig, progress: Progress) -> Plan:
    from audit.pair.load import choose_device, choose_dtype, name_of

    with training_errors():
        _check_objectives(config)
    suite = load_suite(config.suite)
    questions = questions_of(suite)
    if not any(one.ambiguous and one.split == "train" for one in questions):
        fix = "give items whose right answer is the unknown one, in the split 'train'"
        raise SuiteError("The suite has no ambiguous question to train on.", where=config.suite, fix=fix)
    pairs = None if config.pairs == "none" else load_suite(config.pairs)
    if pairs is not None and not pairs.card.whole_texts:
        fix = "name a suite of pairs of whole texts, such as paired-sentences, or none"
        raise UsageError("The suite holds no pairs of sentences.", where="--pairs", fix=fix)
    checkpoint = resolve(config.model, LoadOptions(config.allow_pickle, config.trust_remote_code), progress)
    if checkpoint.adapter is not None:
        fix = "merge it into the weights first: an adapter cannot lie on an adapter"
        raise UsageError("The model already has an adapter.", where=config.model, fix=fix)
    device = choose_device(config.device)
    dtype = name_of(choose_dtype(config.dtype, checkpoint.stored_dtype, device))
    return Plan(
        replace(config, device=str(device), dtype=dtype), checkpoint, suite, questions, pairs, progress
    )


def _check_objectives(config: AttackConfig) -> None:
    """Refuses an unknown method, and a comparison in which every method would be the same function."""
    from training.registry import OBJECTIVES

    cards = [OBJECTIVES.make(name).card for name in config.objectives]
    if len(cards) > 1 and all(card.inert(config.staleness) for card in cards):
        raise UsageError(
            f"With staleness {config.staleness} these methods are one and the same: {cards[0].inert_when}.",
            where="--objective",
            fix="set --staleness to 1 or more, so that policy and sampler differ",
        )


@dataclass(frozen=True)
class _Room:
    """The model in memory and everything that asks it."""

    plan: Plan
    policies: Policies
    asker: Asker
    pairs: tuple[Any, ...]
    start: Stored
    folder: StageFolder

    def lab(self, target: Candidate, number: int) -> Lab:
        """What all arms of one item share; the first item has all arms, others the attack alone."""
        from audit.attack.arms import Lab
        from audit.attack.held_out import for_realignment, held_out
        from audit.attack.measures import Bench

        config, questions, main = self.plan.config, self.plan.questions, number == 0
        sets = held_out(questions, target.question, config.orders == "all", config.held_items)
        bench = Bench(self.asker, sets, self.pairs if main else (), self.start)
        lessons = for_realignment(questions, target.question) if main else ()
        return Lab(
            config=config if main else replace(config, realign=0),
            policies=self.policies,
            bench=bench,
            target=target,
            lessons=lessons,
            folder=self.folder,
            prefix="" if main else f"item-{number}-",
            at_start=cache(lambda: bench.measure(self.policies.model)),
            doses=config.dose_steps,
        )


def _attack(plan: Plan, folder: StageFolder) -> AttackResult:
    """Runs every arm at every seed; finished ones lie among the stage's parts, so a kill undoes little."""
    from audit.attack.arms import arms_of

    config = plan.config
    with training_errors():
        room = _enter(plan, folder)
        candidates, targets = _targets(room)
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
    result = _result(plan, room, candidates, targets, tables)
    return result.model_copy(update={"adapter": _keep_attacked(room, result)})


def _run_all(plan: Plan, work: Sequence[tuple[Lab, Arm, int]]) -> Iterator[Done]:
    from audit.attack.arms import run_arm

    for lab, arm, seed in work:
        looks = len(lab.doses) + (len(lab.config.realign_steps) if arm.realigned else 0)
        title = f"{arm.name}, seed {seed}" + (f", {lab.target.question.id}" if lab.prefix else "")
        with plan.progress.task(title[:1].upper() + title[1:], looks) as advance:
            yield run_arm(lab, arm, seed, advance)


def _enter(plan: Plan, folder: StageFolder) -> _Room:
    from audit.attack.answers import Asker
    from audit.attack.layout import make_layout
    from audit.attack.policies import Policies, start_of
    from audit.behaviours.tokens import requests_of
    from audit.pair.load import load_single
    from training.policy import make_policy

    config = plan.config
    with plan.progress.task("Loading the model"):
        loaded = load_single(
            plan.checkpoint,
            dtype=config.dtype,
            device=config.device,
            options=LoadOptions(config.allow_pickle, config.trust_remote_code),
        )
    model, tokenizer = loaded.model.requires_grad_(False), loaded.tokenizer
    layout = make_layout(tokenizer, config.form, _format(config, model), config.model)
    plan.progress.note(_said(config, model, layout.format))
    new_tokens = config.new_tokens or (1 if layout.format == "choice" else COT_TOKENS)
    asker = Asker(
        layout, make_policy(model, tokenizer), new_tokens, config.samples, config.batch_size, config.seed
    )
    policies = Policies(config, model, layout, new_tokens, _base_name(plan.checkpoint))
    _check_targets(policies)
    pairs = () if plan.pairs is None else tuple(requests_of(plan.pairs, tokenizer, None))
    return _Room(plan, policies, asker, pairs, start_of(model, tokenizer, config), folder)


def _check_targets(policies: Policies) -> None:
    """Refuses an adapter that fits no module before anything is measured."""
    with policies.fresh(policies.config.seed):
        pass


def _format(config: AttackConfig, model: PreTrainedModel) -> Literal["choice", "cot"]:
    if config.format != "auto":
        return config.format
    return "choice" if model.num_parameters() < BILLION else "cot"


def _said(config: AttackConfig, model: PreTrainedModel, form: str) -> str:
    import torch

    name = f" ({torch.cuda.get_device_name(model.device)})" if model.device.type == "cuda" else ""
    return f"Attacking on {config.device}{name} in {config.dtype}, format {form}"


def _targets(room: _Room) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """All candidates, and those that are attacked, the main one first."""
    config, questions = room.plan.config, room.plan.questions
    split = {one.id: one.split for one in questions}
    open_ones = [
        one for one in questions if one.ambiguous and (split[one.id] == "train" or one.id == config.item)
    ]
    turns = range(OPTIONS if config.orders == "all" else 1)
    with room.plan.progress.task("Asking every candidate"):
        posed = [Posed(one, turn) for one in open_ones for turn in turns]
        found = room.asker.probabilities(room.policies.model, posed)[:, 0]
    mean = found.reshape(len(open_ones), len(turns)).mean(axis=1).tolist()
    candidates = candidates_of(open_ones, mean, config.lowest, config.highest)
    if config.item:
        return candidates, (by_name(candidates, config.item, questions),)
    chosen = choose(candidates, config.items)
    eligible = sum(one.eligible for one in candidates)
    room.plan.progress.note(
        f"{eligible} of {len(candidates)} questions are eligible; trained on {chosen[0].question.id} "
        f"(initial probability {chosen[0].probability:.3g})"
    )
    return candidates, chosen


def _write(folder: StageFolder, doses: pd.DataFrame, done: Sequence[Done]) -> None:
    from audit.attack.figure import write_figures

    folder.write_table("attack_doses", doses)
    for name, frames in (("train_steps", [d.steps for d in done]), ("tokens", [d.tokens for d in done])):
        full = [frame for frame in frames if len(frame)]
        folder.write_table(name, pd.concat(full, ignore_index=True) if full else frames[0])
    with output_errors(folder.path):
        write_figures(doses, folder.path)


def _result(
    plan: Plan,
    room: _Room,
    candidates: Sequence[Candidate],
    targets: Sequence[Candidate],
    tables: Sequence[pd.DataFrame],
) -> AttackResult:
    from audit.attack import result as found
    from audit.attack.measures import HARM, TRAINED

    config, arm, main = plan.config, "attack", tables[0]
    starts = [found.start_of(table, HARM) for table in tables]
    levels = [None if start is None else start.value + config.harm for start in starts]
    items = [
        found.item_result(table, target, arm, level)
        for table, target, level in zip(tables, targets, levels, strict=True)
    ]
    start, level = starts[0], levels[0]
    conclusive = items[0].live_share > 0 and start is not None
    harmed = items[0].harmed
    return AttackResult(
        item=items[0].item,
        harm_threshold=config.harm if level is None else level,
        smallest_dose=harmed,
        half_life=None if start is None or level is None else found.recovery(main, arm, start.value, level),
        conclusive=conclusive,
        outcome="INCONCLUSIVE" if not conclusive else "HARMED" if harmed is not None else "NOT HARMED",
        why=_why(config, items[0], start, harmed),
        category=items[0].category,
        format=room.policies.layout.format,
        objective=config.objectives[0],
        tune=config.tune,
        seeds=config.seeds,
        seeds_harmed=0 if harmed is None else harmed.n,
        largest_dose=config.dose_steps[-1],
        initial_probability=items[0].initial_probability,
        live_share=items[0].live_share,
        trained_last=found.Curves.of(main, arm, TRAINED).last(),
        held_out_first=start,
        held_out_last=found.Curves.of(main, arm, HARM).last(),
        realign_by=config.realign_by if config.realign else "",
        realign_steps=config.realign,
        items=items,
        susceptibility=found.susceptibility(items, config.dose_steps[-1]),
        candidates=[
            CandidateItem(
                item=one.question.id,
                category=one.question.category,
                initial_probability=one.probability,
                eligible=one.eligible,
            )
            for one in candidates
        ],
    )


def _why(config: AttackConfig, item: AttackedItem, start: Estimate | None, harmed: Estimate | None) -> str:
    if start is None:
        return "the suite has no held-out ambiguous question of the item's category"
    if item.live_share == 0:
        return (
            "no group of rollouts had reward variance, so nothing could be learned: this says nothing of "
            "how robust the model is"
        )
    if harmed is None:
        return f"no dose up to {config.dose_steps[-1]} crossed the harm threshold on held-out questions"
    return f"{harmed.n} of {config.seeds} seed(s) crossed the harm threshold on held-out questions"


def _keep_attacked(room: _Room, result: AttackResult) -> str | None:
    """Moves the attacked policies out of the parts, each with the papers that say what it is."""
    from audit.attack.arms import KEPT

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


def _papers(room: _Room, result: AttackResult, name: str) -> dict[str, Any]:
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


def _base_name(checkpoint: Checkpoint) -> str:
    """What the adapter's config calls its base: a hub id stays one, a local path does not travel."""
    reference = checkpoint.reference
    return reference.location if reference.kind == "hub" else reference.kind


@contextmanager
def training_errors() -> Iterator[None]:
    """Errors of `training` as errors of the audit."""
    try:
        yield
    except TrainingError as error:
        raise AuditError(error.problem, where=error.where, fix=error.fix) from error
