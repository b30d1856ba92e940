"""Results to printable sentences: each with its number, its interval and where the evidence lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from audit.evidence.claims import causal, inside, outside
from audit.evidence.claims.attack import attack_claims
from audit.evidence.claims.ledger import Ledger
from audit.evidence.claims.selftest import selftest_claims
from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Claims, RunKind

INSIDE: dict[str, Callable[[Ledger, Any], None]] = {
    "elicit": causal.elicit,
    "directions": inside.directions,
    "features": inside.features,
    "switches": causal.switches,
    "bypass": causal.bypass,
    "relearn": causal.relearn,
}
"""Sentences of the stages that a run may have left out."""


def compare_claims(run: RunFolder) -> Claims:
    """The ledger of a finished `compare` run, in the order of a report."""
    ledger = Ledger(run)
    outside.verdicts(ledger, run.result("verdict"))
    outside.behaviour(ledger, run.result("behaviour"))
    for stage, say in INSIDE.items():
        if (result := run.optional(stage)) is not None:
            say(ledger, result)
    outside.drift(ledger, run.result("drift"))
    outside.weights(ledger, run.result("weights"))
    return Claims(claims=ledger.claims)


def train_claims(run: RunFolder) -> Claims:
    """The ledger of a finished `train` run."""
    ledger, result = Ledger(run), run.result("train")
    said = {
        "reward_first": "Mean reward over the first tenth of the steps",
        "reward_last": "Mean reward over the last tenth of the steps",
        "dead_groups": "Share of sampled groups without reward variance",
        "exact_kl_last": "KL(reference || policy) before the last step, nats per penalised token",
        "had_gradient": "Some group had reward variance, so something could be learned",
    }
    values = result.model_dump()
    for name, text in said.items():
        if values[name] is not None:
            ledger.add(f"train/{name}", "train", f"/{name}", f"{text}: {_said(values[name])}.", values[name])
    return Claims(claims=ledger.claims)


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}"


LEDGERS: dict[RunKind, Callable[[RunFolder], Claims]] = {
    "compare": compare_claims,
    "train": train_claims,
    "attack": attack_claims,
    "selftest": selftest_claims,
}
"""How the claims of each kind of run follow from its results."""
