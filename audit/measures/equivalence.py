"""Is a change small enough to call none, and could the data have told?"""

from __future__ import annotations

from enum import StrEnum

from audit.measures.bootstrap import Estimate


class BandAnswer(StrEnum):
    """What an interval says about the band [-band, band] of changes too small to matter."""

    EQUIVALENT = "equivalent"
    """The whole interval lies inside."""
    CHANGED = "changed"
    """The whole interval lies outside."""
    UNDECIDED = "undecided"
    """It crosses an edge, though an interval of its width would fit inside the band."""
    TOO_WIDE = "too wide to say"
    """It crosses an edge and is wider than the band: even no change at all could not have been shown."""


def equivalent(change: Estimate, band: float) -> bool:
    """Whether the 95 % interval lies inside [-band, band], edges included.

    Two one-sided tests (Schuirmann 1987) at 2.5 % each, twice as strict as the usual 5 %.

    Raises:
        ValueError: the band is not positive and finite.
    """
    return compare_to_band(change, band) is BandAnswer.EQUIVALENT


def compare_to_band(change: Estimate, band: float) -> BandAnswer:
    """Where the interval of a change lies relative to the card's equivalence band; errors as `equivalent`."""
    if not 0 < band < float("inf"):
        raise ValueError(f"an equivalence band must be positive and finite, not {band}")
    if -band <= change.low and change.high <= band:
        return BandAnswer.EQUIVALENT
    if change.low > band or change.high < -band:
        return BandAnswer.CHANGED
    return BandAnswer.TOO_WIDE if change.high - change.low > 2 * band else BandAnswer.UNDECIDED
