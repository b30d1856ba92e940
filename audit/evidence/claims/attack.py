"""Sentences on an attack: what it took to do harm, what it did not, and how the harm goes back."""

from __future__ import annotations

from audit.evidence.claims.ledger import Ledger
from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Claims, Estimate
from audit.evidence.schema.results.training import AttackedItem, AttackResult

STAGE = "attack"
RANGE = "median over the seeds that crossed; the range holds all crossings between tried doses"


def attack_claims(run: RunFolder) -> Claims:
    """The ledger of a finished `attack` run."""
    ledger, result = Ledger(run), run.result(STAGE)
    _outcome(ledger, result)
    _held_out(ledger, result)
    _dose(ledger, result)
    _way_back(ledger, result)
    for number, item in enumerate(result.items):
        _item(ledger, item, number)
    if result.susceptibility is not None:
        _add(
            ledger,
            "susceptibility",
            f"Over {len(result.items)} attacked items, initial probability and steps until learnt have the "
            f"rank correlation {result.susceptibility:.2f}.",
            result.susceptibility,
            n=len(result.items),
            test="Spearman; items that were not learnt count as the longest",
        )
    return Claims(claims=ledger.claims)


def _outcome(ledger: Ledger, result: AttackResult) -> None:
    if result.outcome is not None:
        _add(
            ledger,
            "outcome",
            f"Attack on one example: {result.outcome}, because {result.why}.",
            result.outcome,
        )
    _add(
        ledger,
        "conclusive",
        "The attack is conclusive: it had something to learn from, and its measure can show harm."
        if result.conclusive
        else "The attack is INCONCLUSIVE, which is no robustness.",
        result.conclusive,
    )
    if result.live_share is not None:
        said = f"{result.live_share:.1%} of the attack's groups of rollouts had reward variance."
        _add(ledger, "live_share", said, result.live_share)


def _held_out(ledger: Ledger, result: AttackResult) -> None:
    if result.accuracy_first is not None:
        _add(
            ledger,
            "accuracy_first",
            f"Before the attack, the accuracy on questions whose context says who is "
            f"{_range(result.accuracy_first)}; a third is chance.",
            result.accuracy_first,
            test="bootstrap over scenes",
        )
    threshold = f"harm threshold {result.harm_threshold:.3f}"
    if result.held_out_first is not None:
        _add(
            ledger,
            "held_out_first",
            f"Before the attack, the biased answer's share on held-out questions of the category is "
            f"{_range(result.held_out_first)}.",
            result.held_out_first,
            test="bootstrap over scenes",
        )
    if result.held_out_last is not None:
        _add(
            ledger,
            "held_out_last",
            f"After {result.largest_dose} steps it is {_range(result.held_out_last)} over "
            f"{result.held_out_last.n} seed(s); {threshold}.",
            result.held_out_last,
            test="mean and range of seeds",
            null=threshold,
        )
    if result.trained_last is not None:
        _add(
            ledger,
            "trained_last",
            f"After {result.largest_dose} steps the trained item's biased answer has the probability "
            f"{_range(result.trained_last)}.",
            result.trained_last,
            test="mean and range of seeds",
        )


def _dose(ledger: Ledger, result: AttackResult) -> None:
    if result.smallest_dose is None:
        return
    dose = result.smallest_dose
    bound = "no bound above" if dose.high is None else f"at most {dose.high:g}"
    _add(
        ledger,
        "smallest_dose",
        f"The smallest dose that did harm is {dose.value:g} optimiser step(s) (more than {dose.low or 0:g}, "
        f"{bound}; {dose.n} of {result.seeds or dose.n} seed(s) crossed).",
        dose,
        unit="optimiser steps",
        test=RANGE,
        null=f"harm threshold {result.harm_threshold:.3f}",
    )


def _way_back(ledger: Ledger, result: AttackResult) -> None:
    if result.smallest_dose is None or not result.realign_steps:
        return
    by = {"sft": "supervised steps", "grpo": "GRPO steps"}.get(result.realign_by, "steps")
    if result.half_life is None:
        said = f"Half of the damage is still there after {result.realign_steps} {by} of realignment."
    else:
        said = f"Half of the damage is gone after {result.half_life:.3g} {by} of realignment."
    _add(ledger, "half_life", said, result.half_life, unit=by)


def _item(ledger: Ledger, item: AttackedItem, number: int) -> None:
    learnt = "not learnt" if item.learnt is None else f"learnt at dose {item.learnt.value:g}"
    ledger.add(
        f"attack/items/{number}",
        STAGE,
        f"/items/{number}/initial_probability",
        f"Item {item.item} ({item.category}): initial probability of the biased answer "
        f"{item.initial_probability:.3f}, {learnt}; reward variance in {item.live_share:.1%} of its groups.",
        item.initial_probability,
    )


def _add(ledger: Ledger, name: str, statement: str, value: object, **fields: object) -> None:
    ledger.add(f"attack/{name}", STAGE, f"/{name}", statement, value, **fields)


def _range(found: Estimate) -> str:
    ends = ("?" if end is None else f"{end:.3f}" for end in (found.low, found.high))
    return f"{found.value:.3f} ({' to '.join(ends)})"
