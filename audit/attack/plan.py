"""What an attack starts from, checked before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from audit.attack.config import AttackConfig
from audit.attack.questions import Question, questions_of
from audit.behaviours.load import load_suite
from audit.behaviours.suite import Suite
from audit.errors import SuiteError, UsageError
from audit.pair.checkpoint import Checkpoint, LoadOptions, resolve
from audit.pair.load import choose_device, choose_dtype, name_of
from audit.progress import Progress
from audit.train.errors import training_errors


@dataclass(frozen=True)
class Plan:
    """Everything that an attack starts from."""

    config: AttackConfig
    checkpoint: Checkpoint
    suite: Suite
    questions: tuple[Question, ...]
    pairs: Suite | None
    progress: Progress


def make_plan(config: AttackConfig, progress: Progress) -> Plan:
    """Resolves model, suites and methods.

    Raises:
        AuditError: something is wrong that the user can mend.
    """
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
