"""Results on what the models say: the stage `behaviour`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audit.evidence.schema.documents import Document, Estimate

RELIABILITY_FLOOR = 0.5
"""A suite whose split-half reliability on the base is lower cannot carry a verdict."""


class FlipsResult(Document):
    """Items whose sign of m changed."""

    items: int
    to_showing: int
    to_not_showing: int
    p_value: float
    """Exact McNemar test."""


class TemplateResult(Document):
    """One suite under one template on one split."""

    template: str
    split: Literal["test", "all"]
    base: Estimate
    tuned: Estimate
    change: Estimate
    """b_tuned - b_base, paired bootstrap over entities."""
    lost_share: Estimate | None
    """(b_base - b_tuned) / (b_base - null); None where the base is not clearly above its null."""
    gained_share: Estimate | None = None
    """(b_tuned - b_base) / (b_tuned - null); None where the tuned model is not clearly above its null."""
    p_value: float
    """Paired sign-flip permutation over entities."""
    q_value: float | None = None
    """Benjamini-Hochberg over the suites of this run, primary template only."""
    equivalent: bool
    """The change's interval lies inside the card's equivalence band."""
    base_above_null: bool
    tuned_above_null: bool
    flips: FlipsResult


class SuiteResult(Document):
    """One behaviour suite on both models."""

    name: str
    title: str
    sha256: str
    items: int
    entities: int
    unit: str
    score: Literal["contrast", "level"] | None = None
    """contrast: the effect is a difference between two groups of entities; level: a mean over all."""
    equivalence_band: float
    null_level: float
    primary_template: str
    reliability: float | None
    """Split-half reliability on the base, Spearman-Brown corrected; None where undefined."""
    reliability_tuned: float | None = None
    """The same on the tuned model."""
    measurable: bool
    """Reliability reaches .5 on the base; of a behaviour that clearly rose, on the tuned model. Below, the
    suite cannot carry a verdict."""
    near_duplicates: float
    near_duplicates_masked: float
    """The same after masking the entity's name: catches one template repeated."""
    templates: list[TemplateResult]
    metrics: dict[str, float | int | None] = Field(default_factory=dict)
    """Scores of the suite's own kind, such as BBQ accuracy, per model and condition."""

    @property
    def primary(self) -> TemplateResult:
        """The result that carries the verdict: the card's template on the held-out entities."""
        found = [r for r in self.templates if r.template == self.primary_template and r.split == "test"]
        return (found or self.templates)[0]


class BehaviourResult(Document):
    """Result of the stage `behaviour`."""

    suites: list[SuiteResult]
    warnings: list[str]
