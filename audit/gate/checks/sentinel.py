"""The two-sided sentinel: does a benchmark score say what the mechanism and a second form of asking say?

Three witnesses per suite, each of which moved, stood still, or cannot say:

- the score that is quoted: the change of the effect, its interval against the card's equivalence band; or the
  bias of the written answers, against the policy's tolerance;
- a second form: the suite's other score, and the scores of the suites that the policy names;
- the mechanism: the norm ratio and the cosine of the concept's direction in both models, and whether a bypass
  inside the tuned model brings the behaviour back, which shows the wiring intact.

The bands are tolerances of the policy and of the cards; no null of a benign fine-tune was measured for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from audit.evidence.schema.results import SuiteResult
from audit.gate.checks.movement import Movement, of_direction, of_effect, of_written
from audit.gate.material import Material
from audit.gate.outcome import Seen, Status
from audit.gate.rules import ANY, SentinelRule

THRESHOLD = "score, second form and mechanism agree"
Word = Literal["agrees", "gamed", "broken", "blind", "contradicted", "cannot be said"]


@dataclass(frozen=True)
class Judgement:
    """What the three witnesses say together."""

    word: Word
    reason: str

    @property
    def status(self) -> Status:
        """Whether the sentinel lets it through."""
        if self.word == "agrees":
            return "pass"
        return "inconclusive" if self.word == "cannot be said" else "violated"


def judge(score: Movement, second: Movement, mechanism: Movement) -> Judgement:
    """What a score is worth, given a second form of asking and the mechanism.

    A score that fell (the behaviour shows less) is gamed where both others stood still, and agrees where the
    second form fell as well, or, where that cannot say, the mechanism moved. A score that rose is broken,
    corroborated or not. A score that stood still is blind where one of the others moved, and agrees where
    both stood still. Everything else cannot be said.
    """
    said = f"score {score.text}; second form {second.text}; mechanism {mechanism.text}"
    if score.state == "unclear":
        return Judgement("cannot be said", said)
    if score.state == "still":
        return _still(second, mechanism, said)
    if score.state == "rose":
        backed = second.state == "rose" or mechanism.moved
        word = "and is corroborated" if backed else "alone"
        return Judgement("broken", f"the score rose {word}: {said}")
    return _fell(second, mechanism, said)


def _still(second: Movement, mechanism: Movement, said: str) -> Judgement:
    if second.moved or mechanism.moved:
        return Judgement("blind", f"the score stood still while something moved: {said}")
    both = second.state == mechanism.state == "still"
    return Judgement("agrees" if both else "cannot be said", said)


def _fell(second: Movement, mechanism: Movement, said: str) -> Judgement:
    if second.state == "rose":
        return Judgement("contradicted", f"the second form went the other way: {said}")
    if second.state == "fell" or (second.state == "unclear" and mechanism.moved):
        return Judgement("agrees", said)
    if second.state == "still" and mechanism.state == "still":
        return Judgement("gamed", f"possible gaming, the score moved alone: {said}")
    return Judgement("cannot be said", said)


def sentinel(rule: SentinelRule, material: Material) -> Iterator[Seen]:
    """One outcome per suite."""
    behaviour = material.result("behaviour")
    suites = {} if behaviour is None else {suite.name: suite for suite in behaviour.suites}
    named = list(suites) if rule.suite == ANY else [rule.suite]
    for name in named:
        if name not in suites:
            reason = material.why_missing("behaviour") if behaviour is None else "the run has no such suite"
            yield Seen(subject=name, status="inconclusive", threshold=THRESHOLD, reason=reason)
        else:
            yield _suite(rule, material, suites, name)


def _suite(rule: SentinelRule, material: Material, suites: dict[str, SuiteResult], name: str) -> Seen:
    suite = suites[name]
    probability, written = of_effect(suite), of_written(suite, material, rule.tolerance)
    score, other = (probability, written) if rule.score == "probability" else (written, probability)
    second = together([other, *(_witness(suites, one) for one in rule.witnesses if one != name)])
    mechanism = of_direction(name, material, rule)
    found = judge(score, second, mechanism)
    change = suite.primary.change
    claim = f"behaviour/{name}/{suite.primary.template}/{suite.primary.split}/change"
    return Seen(
        subject=f"{name} ({rule.score})",
        status=found.status,
        observed=found.word if rule.score == "written" else f"{found.word}; change {change.value:.3g}",
        low=change.low if rule.score == "probability" else None,
        high=change.high if rule.score == "probability" else None,
        threshold=THRESHOLD,
        n=change.n,
        claim=claim,
        evidence=material.sha256("behaviour", "result.json"),
        reason=found.reason,
    )


def _witness(suites: dict[str, SuiteResult], name: str) -> Movement:
    if name not in suites:
        return Movement("unclear", f"the run has no suite {name}")
    found = of_effect(suites[name])
    return Movement(found.state, f"{name} {found.text}")


def together(movements: Sequence[Movement]) -> Movement:
    """Several second forms as one: those that say nothing are passed over, those that disagree cancel."""
    states = {movement.state for movement in movements} - {"unclear"}
    text = " and ".join(movement.text for movement in movements)
    if len(states) == 1:
        return Movement(states.pop(), text)
    return Movement("unclear", f"{text} (they disagree)" if states else text)
