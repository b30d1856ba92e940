"""Which behaviours changed, and the form in which the stages behind ask them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from audit.behaviours.suite import Suite
from audit.evidence.schema.results import BehaviourResult, SuiteResult
from audit.inputs import AuditInputs
from audit.presets import PresetName
from audit.stages.behaviour import templates_of

if TYPE_CHECKING:
    from audit.causal.bypass import Setting

FIT_ITEMS: dict[PresetName, int] = {"quick": 40, "standard": 160, "deep": 512}
"""Items of the fit half that a search, or an attribution, runs."""
SIGNIFICANCE = 0.05


class Changed(NamedTuple):
    """A behaviour that changed."""

    setting: Setting
    change: float
    """b_tuned - b_base on the held-out half."""
    turned: bool = True
    """Whether it was turned on or off, see `no_switch`; what merely moved has no silenced feature."""

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.setting.suite.card.name


def changed(audit: AuditInputs, behaviours: BehaviourResult | None) -> list[Changed]:
    """The behaviours that changed, as they are asked; none if none were measured."""
    suites = () if behaviours is None else zip(audit.suites, behaviours.suites, strict=True)
    return [
        Changed(
            setting_of(audit, suite, result), result.primary.change.value, no_switch(suite, result) is None
        )
        for suite, result in suites
        if not unchanged(result)
    ]


def unchanged(result: SuiteResult) -> str | None:
    """Why a behaviour has no switch to look for, as far as its held-out half says; None if it changed.

    It changed where the interval of the change excludes 0 after the correction over suites and its value lies
    outside the equivalence band.
    """
    if not result.measurable:
        return "the suite is not measurable on this base"
    primary = result.primary
    low, high = primary.change.low, primary.change.high
    significant = primary.q_value is None or primary.q_value < SIGNIFICANCE
    sure = low is not None and high is not None and not low <= 0 <= high and significant
    if sure and abs(primary.change.value) > result.equivalence_band:
        return None
    return "the behaviour is not shown to have changed by more than its equivalence band"


def setting_of(audit: AuditInputs, suite: Suite, result: SuiteResult) -> Setting:
    """The suite in the form that carries the verdict."""
    from audit.causal.bypass import Setting

    name = result.primary_template
    templates = (audit.pair.tokenizer(side).chat_template for side in ("base", "tuned"))
    known = templates_of(*(text if isinstance(text, str) else None for text in templates))
    vocabulary = audit.preflight.shared_vocabulary
    tokenizer, held = audit.pair.tokenizer("tuned"), audit.preset.held_items
    return Setting(suite, name, known[name], tokenizer, vocabulary, held)


def no_switch(suite: Suite, result: SuiteResult) -> str | None:
    """Why what happened to a behaviour is nothing that a bypass could undo; None if it went on or off."""
    from audit.measures.effect import TURNED, turned_share

    if why := unchanged(result):
        return why
    base, tuned = (
        found.value - suite.card.null_level for found in (result.primary.base, result.primary.tuned)
    )
    turned = turned_share(base, tuned)
    return (
        None if turned >= TURNED else f"the behaviour changed by {turned:.0%} of its size: a shift, no switch"
    )
