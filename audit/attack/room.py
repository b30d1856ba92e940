"""The model in memory, everything that asks it, and the questions that are attacked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import torch

from audit.attack.answers import Asker
from audit.attack.arms import Lab
from audit.attack.config import AttackConfig
from audit.attack.held_out import for_realignment, held_out, spread
from audit.attack.layout import make_layout
from audit.attack.measures import Bench
from audit.attack.plan import Plan
from audit.attack.policies import Policies, start_of
from audit.attack.questions import OPTIONS, Candidate, Posed, by_name, candidates_of, choose
from audit.behaviours.tokens import requests_of
from audit.evidence.stage import StageFolder
from audit.pair.checkpoint import Checkpoint, LoadOptions
from audit.pair.load import load_single
from training.policy import make_policy
from training.reference import Stored

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BILLION = 1_000_000_000
COT_TOKENS = 256
"""Tokens of a rollout that reasons."""


@dataclass(frozen=True)
class Room:
    """The model in memory and everything that asks it."""

    plan: Plan
    policies: Policies
    asker: Asker
    pairs: tuple[Any, ...]
    start: Stored
    folder: StageFolder

    def lab(self, target: Candidate, number: int) -> Lab:
        """What all arms of one item share; the first item has all arms, others the attack alone."""
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


def enter(plan: Plan, folder: StageFolder) -> Room:
    """Loads the model and prepares what asks it.

    Raises:
        AuditError, TrainingError: the model cannot be loaded, asked or trained in this way.
    """
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
    asked = [] if plan.pairs is None else requests_of(plan.pairs, tokenizer, None)
    pairs = tuple(spread(asked, config.held_pairs))
    return Room(plan, policies, asker, pairs, start_of(model, tokenizer, config), folder)


def _check_targets(policies: Policies) -> None:
    """Refuses an adapter that fits no module before anything is measured."""
    with policies.fresh(policies.config.seed):
        pass


def _format(config: AttackConfig, model: PreTrainedModel) -> Literal["choice", "cot"]:
    if config.format != "auto":
        return config.format
    return "choice" if model.num_parameters() < BILLION else "cot"


def _said(config: AttackConfig, model: PreTrainedModel, form: str) -> str:
    name = f" ({torch.cuda.get_device_name(model.device)})" if model.device.type == "cuda" else ""
    return f"Attacking on {config.device}{name} in {config.dtype}, format {form}"


def targets_of(room: Room) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """All candidates, and those that are attacked, the main one first.

    Raises:
        UsageError: none is eligible, or the named one cannot be attacked.
    """
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


def _base_name(checkpoint: Checkpoint) -> str:
    """What the adapter's config calls its base: a hub id stays one, a local path does not travel."""
    reference = checkpoint.reference
    return reference.location if reference.kind == "hub" else reference.kind
