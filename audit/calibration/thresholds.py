"""The one file of thresholds, and what is read out of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit.errors import RunFolderError
from audit.evidence.files import read_json
from audit.evidence.schema.results import LadderEvidence, SelftestResult

FILE = Path(__file__).with_name("thresholds.json")
NO_RANGE = "the thresholds were not calibrated: they are starting values"
NO_RECORD = "not measured: the thresholds are starting values, and the verdicts carry no error rates"


class _Numbers(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(_Numbers):
    """What the thresholds were fitted on; a pair outside it is EXTRAPOLATED."""

    parameters: tuple[int, int]
    layers: tuple[int, int]
    entities: tuple[int, int]
    architectures: tuple[str, ...]
    scores: tuple[str, ...]
    """contrast, level."""


class Certainty(_Numbers):
    """P(right | margin) = 1 / (1 + exp(-(intercept + slope x margin))) (Platt 1999)."""

    intercept: float
    slope: float = Field(ge=0)

    def of(self, margin: float) -> float:
        """The probability for one margin."""
        return 1 / (1 + math.exp(-(self.intercept + self.slope * margin)))


class Thresholds(_Numbers):
    """Everything that the rule compares with."""

    lost: float
    """Lower end of the lost share from which a behaviour counts as gone."""
    known: float
    """Probe AUC on held-out entities from which the concept is decodable."""
    known_showing: float
    """The same in the model that shows the behaviour: below, nothing can be said to be lost."""
    chance: float
    """AUC up to which the concept may count as not decodable where the showing model holds it."""
    bypass: float
    """Lower end of R from which an internal bypass counts."""
    gates: float
    """The same for learned gates, where the class runs through both models alike."""
    closed: float
    """R up to which a way back counts as closed."""
    gates_closed: float
    """Likewise, up to which learned gates speak against own wiring, wherever the class runs."""
    carried: float
    """Cosine from which the class runs through both models alike: only then do gates speak for own wiring."""
    elsewhere: float
    """Cosine up to which it runs through them along different paths: gates then build a path of their own."""
    gates_built: float
    """R up to which gates may do so where the class runs elsewhere."""
    relearn: float
    """R on held-out entities, after `relearn_steps`, from which relearning is early."""
    relearn_slow: float
    """R up to which it is not."""
    relearn_steps: int
    relearn_last: float
    """R after `relearn_most` steps up to which nothing was relearned."""
    relearn_most: int
    relearn_took: float
    """R on the trained entities from which training took hold: then its failure elsewhere says something."""
    localised_share: float
    localised_units: int
    """A mask is localised where so few units bring back so much."""
    fitted: bool = False
    range: Range | None = None
    certainty: Certainty | None = None
    record: SelftestResult | None = None
    """The tool's own error rates with these thresholds, on models that they were not fitted on."""

    @property
    def numbers(self) -> dict[str, float]:
        """The thresholds alone, by name."""
        found: dict[str, float] = self.model_dump(exclude={"fitted", "range", "certainty", "record"})
        return found

    @property
    def calibration(self) -> str:
        """The record in a sentence, or that there is none."""
        return NO_RECORD if self.record is None else self.record.record

    def beyond(self, evidence: LadderEvidence) -> list[str]:
        """In what a pair or a suite lies outside what was calibrated on, in words."""
        return [NO_RANGE] if self.range is None else list(_beyond(evidence, self.range))

    def confidence(self, margin: float | None) -> float | None:
        """Probability that a verdict with this margin is right; None where that was not measured."""
        return None if margin is None or self.certainty is None else self.certainty.of(margin)


def load_thresholds(path: Path = FILE) -> Thresholds:
    """The thresholds of a file; of this version's own by default.

    Raises:
        RunFolderError: it is missing, or no file of thresholds.
    """
    try:
        return Thresholds.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise RunFolderError(
            f"The file holds no thresholds: {first['msg']}.",
            where=f"{path}: {field}",
            fix="use the one that comes with this version, or fit thresholds again with `audit selftest`",
        ) from error


def _beyond(evidence: LadderEvidence, known: Range) -> Iterator[str]:
    for name in ("parameters", "layers", "entities"):
        value, (low, high) = getattr(evidence, name), getattr(known, name)
        if value is None or not low <= value <= high:
            shown = "unknown" if value is None else f"{value:,}"
            yield f"{name} {shown}, calibrated on {low:,}" + (f" to {high:,}" if high > low else "")
    for name, values in (("architecture", known.architectures), ("score", known.scores)):
        if getattr(evidence, name) not in values:
            yield f"{name} {getattr(evidence, name) or 'unknown'}, calibrated on {', '.join(values)}"
