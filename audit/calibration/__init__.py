"""The numbers behind the verdicts: thresholds, the range they hold in, and the tool's own record."""

from __future__ import annotations

from audit.calibration.thresholds import FILE, Certainty, Range, Thresholds, load_thresholds

__all__ = ["FILE", "Certainty", "Range", "Thresholds", "load_thresholds"]
