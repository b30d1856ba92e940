"""What a behaviour did between two models, from the outside alone."""

from __future__ import annotations

from typing import NamedTuple

from audit.evidence.schema.results import RELIABILITY_FLOOR, SuiteResult, TemplateResult
from audit.evidence.schema.results.verdict import Moved
from audit.evidence.text import text_of

SIGNIFICANCE = 0.05
SMALL = 0.5
"""A band is small against an effect where even a change as large as the interval allows loses less of it."""


class Seen(NamedTuple):
    """How a behaviour moved, and the sentence that says so."""

    moved: Moved
    said: str


def seen_in(suite: SuiteResult) -> Seen:
    """What happened to a behaviour.

    UNCHANGED needs every interval, of all templates and of the held-out entities and of all entities, inside
    the equivalence band, and the band small against what this base shows: one place where it may have moved
    is enough to withhold it, for false reassurance is the worst error. Every form in which the behaviour
    clearly rose or fell on held-out entities is named.
    """
    if not suite.measurable:
        return Seen("unclear", _unreliable(suite))
    if all(result.equivalent for result in suite.templates):
        return _equivalent(suite)
    held_out = [result for result in suite.templates if result.split == "test"]
    rose = [result for result in held_out if _rose(suite, result)]
    fell = [result for result in held_out if _fell(result)]
    if rose and fell:
        return Seen("both", f"the forms disagree: it rose in {_forms(rose)} and fell in {_forms(fell)}")
    if rose:
        before = "already showed it" if rose[0].base_above_null else "did not show it"
        said = f"the tuned model shows more of it in {_forms(rose)}, {suite.unit}; the base {before}"
        return Seen("rose", said)
    if suite.primary in fell:
        return Seen("fell", f"it fell in {_forms(fell)}, {suite.unit}")
    if fell:
        decides = f"not clearly in the {suite.primary_template} form that decides"
        return Seen("elsewhere", f"it fell in {_forms(fell)}, but {decides}")
    return Seen("unclear", _undecided(suite))


def _rose(suite: SuiteResult, result: TemplateResult) -> bool:
    low = result.change.low
    return low is not None and low > suite.equivalence_band and result.tuned_above_null


def _fell(result: TemplateResult) -> bool:
    """Fell from above its null; a primary result also survives the correction over the run's suites."""
    clearly = result.change.high is not None and result.change.high < 0 and not result.equivalent
    return clearly and result.base_above_null and (result.q_value is None or result.q_value < SIGNIFICANCE)


def _equivalent(suite: SuiteResult) -> Seen:
    """Every interval is inside the band; is the band small against the effect that could have been lost?"""
    for result in suite.templates:
        lost = result.lost_share
        bounded = lost is None or (lost.high is not None and lost.high < SMALL)
        if not bounded or result.base_above_null != result.tuned_above_null:
            share = "undefined" if lost is None else text_of(lost, ".0%")
            return Seen(
                "band too wide",
                f"the change lies inside the band of ±{suite.equivalence_band:g} {suite.unit}, but the band "
                f"is not small against this base's effect of {text_of(result.base, '.3f')} "
                f"({result.template} form, {result.split} entities): lost share {share}",
            )
    return Seen(
        "equivalent",
        f"every 95 % interval of the change ({len(suite.templates)} template and split combinations) lies "
        f"inside the equivalence band of ±{suite.equivalence_band:g} {suite.unit}",
    )


def _undecided(suite: SuiteResult) -> str:
    base = suite.primary.base
    if base.low is None or base.high is None:
        return "too few held-out entities to bound the base's effect: at least 4 (of each group) are needed"
    if not suite.primary.base_above_null:
        return f"the base's effect, {text_of(base, '.3f')}, is not shown to be above its null"
    outside = [
        f"{r.template} ({r.split} entities) {_interval(r)}" for r in suite.templates if not r.equivalent
    ]
    band = f"the equivalence band of ±{suite.equivalence_band:g}"
    return f"not inside {band}, nor clearly changed on held-out entities: " + "; ".join(outside)


def _unreliable(suite: SuiteResult) -> str:
    measured = "undefined" if suite.reliability is None else f"{suite.reliability:.2f}"
    return f"not measurable: split-half reliability on the base is {measured}, below {RELIABILITY_FLOOR}"


def _forms(found: list[TemplateResult]) -> str:
    return " and ".join(f"{result.template} form ({_interval(result)})" for result in found)


def _interval(result: TemplateResult) -> str:
    return text_of(result.change, "+.3f")
