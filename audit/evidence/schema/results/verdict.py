"""Results on the verdicts: the stage `verdict`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audit.evidence.schema.documents import Document
from audit.evidence.schema.results.selftest import SelftestResult

Verdict = Literal["UNCHANGED", "MASKED", "LATENT", "ERASED", "INDUCED", "INCONCLUSIVE"]
Moved = Literal["equivalent", "band too wide", "rose", "fell", "both", "elsewhere", "unclear"]
Detail = Literal["localised", "distributed", "unmasked", "taught", "unclear"]


class WayEvidence(Document):
    """What one kind of bypass brings back inside the lacking model, on held-out items."""

    what: str
    """What was done, in words."""
    recovered: float | None
    """R; None: it broke the model, or could not be read."""
    low: float | None
    high: float | None
    control: float | None
    """Largest R of its controls; None: none could be made."""
    controls: str
    """How many controls, and of what kind, in words."""
    units: int
    kl: float | None
    """KL on unrelated text, nats per token."""
    skills: float | None
    counts: bool
    """Whether a verdict may use it: inside the budgets, above its controls, nothing imported."""
    why_not: list[str] = Field(default_factory=list)


class DoseEvidence(Document):
    """What some steps of training bring back on entities that the training never saw."""

    steps: int
    recovered: float | None
    """R on held-out entities; None: nothing to recover could be told from 0."""
    low: float | None
    high: float | None
    recovered_fit: float | None
    """R on the entities that it was trained on: that the training took hold at all."""
    control: float | None
    """Largest R, at as many steps, of classes that the model never had."""


class LadderEvidence(Document):
    """Everything that the verdict on one behaviour follows from, as numbers.

    The showing model is the one whose effect is the larger: the base, unless the behaviour rose. The lacking
    model is the other one, and the ladder is climbed inside it.
    """

    name: str
    architecture: str | None = None
    """transformers' model_type."""
    parameters: int | None = None
    layers: int | None = None
    score: Literal["contrast", "level"] | None = None
    entities: int = 0
    """All entities of the suite."""
    items: int = 0
    lacking: Literal["tuned", "base"] = "tuned"
    measurable: bool
    """The suite is consistent enough on the base to carry a verdict."""
    moved: Moved
    """equivalent: every interval of the change lies inside the band; band too wide: the same, but the band is
    not small against the base's effect; rose, fell: clearly, on held-out entities; both: one form rose,
    another fell; elsewhere: it fell, but not in the form that decides; unclear: none of these."""
    seen: str
    """What the behaviour did, in words."""
    band: float
    change: float
    """b_tuned - b_base in the form that decides, held-out entities."""
    change_low: float | None
    change_high: float | None
    widest_change: float | None = None
    """Largest absolute end of the change's intervals over all forms and splits; None: unbounded."""
    lost: float | None = None
    """Share of the showing model's effect that the lacking one does not show."""
    lost_low: float | None = None
    asked: Literal["yes", "partly", "no", "unknown"] | None = None
    """Whether asking the tuned model differently brings it back; None: not tried."""
    known_where: str = ""
    """Layer, position and number of held-out entities behind the next fields, in words."""
    known_showing: float | None = None
    """Probe AUC in the showing model where the base represents the concept best; None: not probed."""
    known_showing_low: float | None = None
    known: float | None = None
    """The same in the lacking model."""
    known_low: float | None = None
    known_null: float | None = None
    """95 % quantile of that AUC for classes that the model never had: shuffled over entities."""
    anywhere_showing: float | None = None
    """Largest AUC in the showing model of any probe (LDA, logistic, MLP) at any layer and position."""
    anywhere: float | None = None
    """The same in the lacking model."""
    anywhere_mlp: float | None = None
    """Largest AUC of the MLP alone, in the lacking model."""
    anywhere_null: float | None = None
    """95 % quantile of that largest AUC for classes that the model never had."""
    carried: float | None = None
    """Cosine of the class's direction in both models, at the last token of the deepest block that was read:
    whether the class runs through the lacking model as it does through the showing one."""
    unread: str | None = None
    """Why the concept was not probed."""
    ways: dict[str, WayEvidence] = Field(default_factory=dict)
    """By kind: internal, latents, gates, rewire."""
    relearned: list[DoseEvidence] = Field(default_factory=list)
    """By steps, ascending; empty: not tried."""
    relearn_weaker: str | None = None
    """Why relearning says less here than usual, if so."""


class BehaviourVerdict(Document):
    """The verdict on one behaviour."""

    name: str
    verdict: Verdict
    reasons: list[str]
    missing: list[str]
    """Evidence that a firmer verdict would need and this run has not got."""
    detail: Detail | None = None
    """MASKED: localised or distributed; INDUCED: unmasked, taught or unclear."""
    margin: float | None = None
    """How far the weakest number that the verdict rests on lies beyond its threshold: 0 at it, 1 at the far
    end of its scale."""
    confidence: float | None = None
    """Probability that a verdict with this margin is right, by the selftest; None: not calibrated."""
    extrapolated: list[str] = Field(default_factory=list)
    """In what this pair lies outside the range that the thresholds were calibrated on."""
    evidence: LadderEvidence | None = None
    """The numbers that it follows from."""


class VerdictResult(Document):
    """Result of the stage `verdict`."""

    behaviours: list[BehaviourVerdict]
    calibration: str
    """The tool's own record in a sentence, or one that says that it was not measured."""
    thresholds: dict[str, float] = Field(default_factory=dict)
    """The numbers that the rule compares with, by name."""
    record: SelftestResult | None = None
    """The selftest that fitted them and measured them on other models; None: not measured."""
