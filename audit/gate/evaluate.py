"""Every rule of a policy asked of a run, in the order of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from audit.errors import UsageError
from audit.gate.checks import claims, doses, review, run, sentinel
from audit.gate.config import GateConfig
from audit.gate.material import Material
from audit.gate.outcome import Outcome, Seen
from audit.gate.policy import PolicyFile
from audit.gate.rules import AnyRule
from audit.gate.words import LONGEST_REASON, clean

CHECKS: dict[str, Callable[[Any, Material], Iterator[Seen]]] = {
    "verdict": claims.verdict,
    "bound": claims.bound,
    "word": claims.word,
    "drift": claims.drift,
    "evidence": claims.evidence,
    "dose": doses.dose,
    "age": run.age,
    "weights": run.weights,
    "findings": review.findings,
    "sign_off": review.sign_off,
    "sentinel": sentinel.sentinel,
}
"""The check of each kind of rule."""


def evaluate(policy: PolicyFile, material: Material, config: GateConfig) -> tuple[Outcome, ...]:
    """The outcomes of what is asked of every run, of the options, and of each rule.

    Raises:
        UsageError: no rule fits anything in the run, or a rule asks what the run's kind cannot answer.
    """
    found = list(_of_run(policy, material, config))
    rules = [outcome for rule in policy.policy.rule for outcome in _of_rule(policy, rule, material)]
    if not any(outcome.matched for outcome in rules):
        raise UsageError(
            "The policy's rules fit nothing in this run, so that nothing could ever violate it.",
            where=policy.path,
            fix="look at the names in claims.json (audit show RUN --json), and mend the patterns",
        )
    return (*found, *rules)


def _of_run(policy: PolicyFile, material: Material, config: GateConfig) -> Iterator[Outcome]:
    for seen in run.of_every_run(policy.policy.run, material):
        yield _outcome(seen, "run")
    if config.manifest is not None:
        seen = run.expected_manifest(config.manifest, material)
        yield _outcome(seen, "--manifest")
    if config.weights is not None:
        seen = run.expected_weights(config.weights, material)
        yield _outcome(seen, "--weights")


def _of_rule(policy: PolicyFile, rule: AnyRule, material: Material) -> list[Outcome]:
    seen = list(CHECKS[rule.kind](rule, material)) or [_nothing(rule)]
    name, line = policy.name_of(rule), policy.line_of(rule)
    return [_outcome(_with_why(one, rule.why), name, rule.kind, line) for one in seen]


def _nothing(rule: AnyRule) -> Seen:
    reason = "the rule fits nothing in this run"
    return Seen(subject=rule.kind, status="inconclusive", threshold="-", reason=reason, matched=False)


def _with_why(seen: Seen, why: str | None) -> Seen:
    if why is None or seen.status == "pass":
        return seen
    return replace(seen, reason=f"{seen.reason} ({why})" if seen.reason else why)


def _outcome(seen: Seen, rule: str, kind: str = "run", line: int = 1) -> Outcome:
    """The outcome, with whatever text the run gave made short and printable."""
    said: dict[str, Any] = {n: clean(v) if isinstance(v, str) else v for n, v in vars(seen).items()}
    said["reason"] = clean(seen.reason, LONGEST_REASON)
    return Outcome(rule=rule, kind=kind, line=line, **said)
