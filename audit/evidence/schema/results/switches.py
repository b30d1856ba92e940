"""Results on where the weights hold a change: the stage `switches`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audit.evidence.schema.documents import Document, Estimate


class KindSearch(Document):
    """The search for a small set among the units of one kind, on the fit half."""

    kind: str
    size: int
    """Units of the smallest set that would do; 0: none of at most `tried` units did."""
    recovered: float
    """R of that set; of the largest that was tried, where none was found."""
    tried: int


class SwitchSet(Document):
    """The smallest set of units that gives a behaviour back when their weights are the base's again."""

    kind: str
    units: list[str]
    """As MODULE:INDEX, strongest attribution first."""
    size: int
    recovered_fit: float
    """R on the items that chose it."""
    recovered: Estimate | None
    """R on the held-out items; None where the interval of what was lost there includes 0."""
    carried: float
    """Its share of all that pushed the behaviour the way it went, by attribution."""
    random_sets: int
    """Random sets of equal size, and of equal size and norm of change."""
    random_mean: float | None
    """Mean R of them, held-out items."""
    random_max: float | None
    reported: bool
    """It holds on the held-out half, beyond the random sets, and carries enough of the push."""
    why_not: list[str]


class BehaviourSwitches(Document):
    """Where the change of one behaviour sits in the weights."""

    name: str
    template: str
    searched: bool
    why_not: str | None
    """Why it was not searched."""
    items: int = 0
    """Items of the fit half that were used."""
    entities: int = 0
    change: Estimate | None = None
    """b_tuned - b_base of them."""
    attributed: float | None = None
    """Sum of the attribution over all weights, which should be that change."""
    completeness_gap: float | None = None
    """|attributed - change| / |change|."""
    steps: int = 0
    """Gradients along the path from base to tuned behind the attribution."""
    kinds: list[KindSearch] = Field(default_factory=list)
    set: SwitchSet | None = None
    """The smallest set of all kinds, whether or not it is reported."""
    shape: Literal["localised", "distributed", "unresolved"] | None = None
    """localised: a set is reported; distributed: no set within the limit gives half of it back; unresolved:
    a set does on the fit half, but does not hold."""
    best_graft: str | None = None
    """Module whose base weights give most back."""
    best_graft_recovered: float | None = None
    notes: list[str] = Field(default_factory=list)


class SwitchesResult(Document):
    """Result of the stage `switches`."""

    behaviours: list[BehaviourSwitches]
    largest: int
    """Most units that a set may have."""
    warnings: list[str]
