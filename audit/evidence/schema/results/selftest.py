"""Results on the tool itself: the stage `selftest`."""

from __future__ import annotations

from pydantic import Field

from audit.evidence.schema.documents import Document, Estimate


class ReliabilityBin(Document):
    """Verdicts whose stated confidence was alike."""

    stated: float
    """Mean stated confidence."""
    right: float
    """Share that was right."""
    low: float
    """Exact 95 % interval of that share."""
    high: float
    n: int


class Located(Document):
    """How well the units were found that edits had planted."""

    n: int
    """Organisms with planted units."""
    recall: float
    """Mean share of the planted units in the reported set; an organism without a set counts as 0."""
    precision: float | None
    """Mean share of the reported sets that was planted."""
    recovered: float | None
    """Mean R of the reported sets on held-out entities."""
    random: float | None
    """Largest R of any random set matched with them."""


class SelftestResult(Document):
    """Result of the stage `selftest`: the tool's own error rates on planted truth.

    Intervals of shares are 95 %, over bases: children of one base count as one cluster.
    """

    n: int
    """Organisms with a known verdict that do what their construction says."""
    accuracy_decided: Estimate | None
    """Share of right verdicts among those that are not INCONCLUSIVE; None: all were."""
    inconclusive: float
    """Share of INCONCLUSIVE verdicts."""
    false_masked: float | None
    """Share of the organisms that are not masked called MASKED; None: there was none."""
    false_erased: float | None
    """Share of the masked and latent organisms called ERASED: the worst error."""
    matrix: dict[str, dict[str, int]]
    """Planted truth -> verdict -> organisms."""
    bases: int = 0
    """Bases that the organisms descend from."""
    decided: int = 0
    reassured: Estimate | None = None
    """Share of the masked and latent organisms called ERASED or UNCHANGED."""
    alarmed: Estimate | None = None
    """`false_masked` with its interval."""
    new_to_thresholds: Estimate | None = None
    """Accuracy among the decided whose kind or architecture no threshold was fitted on; None: nothing was
    fitted here, or no such organism was decided."""
    apart: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Kinds outside of accuracy (mixtures, contested) -> verdict -> organisms."""
    kinds: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Every other kind -> verdict -> organisms."""
    invalid: list[str] = Field(default_factory=list)
    """Organisms that failed the check of their construction, with the reason; they count nowhere."""
    located: Located | None = None
    reliability: list[ReliabilityBin] = Field(default_factory=list)
    """The reliability diagram of the stated confidence; empty: confidence is not calibrated."""
    fitted_bases: int = 0
    """Other bases that thresholds were fitted on; 0: this version's thresholds were used."""
    thresholds: dict[str, float] = Field(default_factory=dict)
    """The numbers that the rule compared with, by name."""
    record: str = ""
    """All that in one sentence."""
    command: str = ""
    """What measures it again."""
