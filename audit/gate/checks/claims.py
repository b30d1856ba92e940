"""Checks of claims: verdicts, bounds, words, drift, and whether evidence is there at all."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from audit.errors import UsageError
from audit.evidence.schema.documents import Claim
from audit.gate.material import Material
from audit.gate.outcome import Seen, Status
from audit.gate.rules import ANY, BoundRule, DriftRule, EvidenceRule, VerdictRule, WordRule

VERDICTS = re.compile(r"/behaviours/\d+/verdict")


def verdict(rule: VerdictRule, material: Material) -> Iterator[Seen]:
    """One outcome per behaviour."""
    found = {claim.id.removeprefix("verdict/"): claim for claim in material.claims if _is_verdict(claim)}
    threshold = " or ".join(rule.allowed)
    for name in dict.fromkeys(rule.behaviours):
        named = found if name == ANY else {name: found[name]} if name in found else {}
        if not named:
            subject = "verdict/*" if name == ANY else f"verdict/{name}"
            yield _absent(subject, threshold, material, stage="verdict", matched=name != ANY)
        for behaviour, claim in named.items():
            status = _allowed(claim.value, rule)
            reason = "; ".join(claim.preconditions) if status == "inconclusive" else ""
            yield _seen(claim, status, threshold, subject=behaviour, reason=reason)


def _is_verdict(claim: Claim) -> bool:
    stage = claim.evidence.file == "stages/verdict/result.json"
    return stage and VERDICTS.fullmatch(claim.evidence.pointer) is not None


def _allowed(value: object, rule: VerdictRule) -> Status:
    if value in rule.allowed:
        return "pass"
    return "inconclusive" if value == "INCONCLUSIVE" else "violated"


def word(rule: WordRule, material: Material) -> Iterator[Seen]:
    """One outcome per claim that the pattern fits."""
    threshold = " or ".join(_said(value) for value in rule.allowed)
    for claim in _matching(rule.claim, material):
        if isinstance(claim.value, float):
            raise _wrong_kind(claim, "a number", 'a rule of kind "bound"')
        if claim.value is None:
            yield _seen(claim, "inconclusive", threshold, reason="not measured")
        else:
            # true is no 1, nor "true": the types must agree as well
            good = any(type(claim.value) is type(one) and claim.value == one for one in rule.allowed)
            yield _seen(claim, "pass" if good else "violated", threshold)
    yield from _nothing(rule.claim, threshold, material)


def bound(rule: BoundRule, material: Material) -> Iterator[Seen]:
    """One outcome per claim that the pattern fits."""
    for claim in _matching(rule.claim, material):
        yield bounded(claim, rule)
    yield from _nothing(rule.claim, bound_text(rule), material)


def drift(rule: DriftRule, material: Material) -> Iterator[Seen]:
    """One outcome per direction."""
    for direction in dict.fromkeys(rule.directions):
        name = f"drift/{direction}"
        budget = BoundRule(kind="bound", claim=name, at_most=rule.at_most)
        found = material.claims_like(name)
        yield from (bounded(claim, budget) for claim in found)
        if not found:
            yield _absent(name, bound_text(budget), material, stage="drift")


def evidence(rule: EvidenceRule, material: Material) -> Iterator[Seen]:
    """One outcome per stage and per claim that must be there."""
    for stage in rule.stages:
        state = material.manifest.stages.get(stage)
        done = state is not None and state.status == "done"
        yield Seen(
            subject=f"stage {stage}",
            status="pass" if done else "inconclusive",
            observed="not in the run" if state is None else state.status,
            threshold="done",
            evidence=None if state is None else state.done,
            reason="" if done else material.why_missing(stage),
        )
    for pattern in rule.claims:
        for claim in material.claims_like(pattern):
            there = claim.value is not None
            reason = "" if there else "not measured"
            yield _seen(claim, "pass" if there else "inconclusive", "measured", reason=reason)
        yield from _nothing(pattern, "measured", material)


def bounded(claim: Claim, rule: BoundRule) -> Seen:
    """A claim held against the bounds of a rule."""
    threshold = bound_text(rule)
    if isinstance(claim.value, str | bool):
        raise _wrong_kind(claim, "no number", 'a rule of kind "word" or "verdict"')
    lacking = _lacking(claim, rule)
    if lacking is not None:
        return _seen(claim, "inconclusive", threshold, reason=lacking)
    low, high = _span(claim, rule)
    if _outside(low, high, rule):
        return _seen(claim, "violated", threshold)
    if _inside(low, rule) and _inside(high, rule):
        return _seen(claim, "pass", threshold)
    return _seen(claim, "inconclusive", threshold, reason="the interval lies on both sides of the bound")


def _lacking(claim: Claim, rule: BoundRule) -> str | None:
    """Why a claim cannot decide, if so."""
    if claim.value is None:
        return "not measured"
    if claim.preconditions and not rule.despite_caveats:
        return f"the claim's own preconditions do not hold: {'; '.join(claim.preconditions)}"
    if rule.least_n is not None and (claim.n is None or claim.n < rule.least_n):
        said = "an unknown number" if claim.n is None else str(claim.n)
        return f"rests on {said} of independent units, at least {rule.least_n} are asked for"
    if rule.of == "interval" and claim.low is None and claim.high is None:
        return 'has no interval: ask for of = "value" if the number alone may decide'
    if rule.of in ("low", "high") and getattr(claim, rule.of) is None:
        return f"has no {rule.of} end: the data do not bound it there"
    return None


def _span(claim: Claim, rule: BoundRule) -> tuple[float, float]:
    """The numbers that are held against the bounds, smallest and largest."""
    if rule.of == "interval":
        low = -math.inf if claim.low is None else claim.low
        return low, math.inf if claim.high is None else claim.high
    number = getattr(claim, rule.of)
    return number, number


def _inside(number: float, rule: BoundRule) -> bool:
    return (
        (rule.at_least is None or number >= rule.at_least)
        and (rule.above is None or number > rule.above)
        and (rule.at_most is None or number <= rule.at_most)
        and (rule.below is None or number < rule.below)
    )


def _outside(low: float, high: float, rule: BoundRule) -> bool:
    """Every number from low to high breaks the same bound."""
    return (
        (rule.at_least is not None and high < rule.at_least)
        or (rule.above is not None and high <= rule.above)
        or (rule.at_most is not None and low > rule.at_most)
        or (rule.below is not None and low >= rule.below)
    )


def bound_text(rule: BoundRule) -> str:
    """The bounds of a rule as people read them."""
    names = {"at_least": ">=", "above": ">", "at_most": "<=", "below": "<"}
    ends = [
        f"{sign} {getattr(rule, name):g}" for name, sign in names.items() if getattr(rule, name) is not None
    ]
    return f"{rule.of} {' and '.join(ends)}"


def _matching(pattern: str, material: Material) -> list[Claim]:
    return material.claims_like(pattern)


def _nothing(pattern: str, threshold: str, material: Material) -> Iterator[Seen]:
    """One inconclusive outcome where a pattern fits no claim."""
    if not material.claims_like(pattern):
        first = pattern.split("/")[0]
        yield _absent(pattern, threshold, material, stage=first, matched=ANY not in pattern.split("/"))


def _absent(subject: str, threshold: str, material: Material, stage: str, matched: bool = True) -> Seen:
    done = stage in material.manifest.stages and material.manifest.stages[stage].status == "done"
    reason = "the run makes no such claim" if done else f"no such claim: {material.why_missing(stage)}"
    return Seen(
        subject=subject,
        status="inconclusive",
        threshold=threshold,
        claim=None,
        reason=reason,
        matched=matched,
    )


def _seen(claim: Claim, status: Status, threshold: str, subject: str | None = None, reason: str = "") -> Seen:
    return Seen(
        subject=subject or claim.id,
        status=status,
        observed=claim.value,
        low=claim.low,
        high=claim.high,
        threshold=threshold,
        n=claim.n,
        claim=claim.id,
        evidence=claim.evidence.sha256,
        reason=reason,
    )


def _said(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def _wrong_kind(claim: Claim, what: str, instead: str) -> UsageError:
    return UsageError(
        f"The claim {claim.id[:200]} is {what}.", where="the policy's rule on it", fix=f"ask it by {instead}"
    )
