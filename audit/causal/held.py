"""What a set of units has to show on the held-out half before it is reported."""

from __future__ import annotations

from typing import NamedTuple

from audit.measures.bootstrap import Estimate
from audit.measures.effect import TURNED

HELD_FLOOR = 0.3
"""The interval of R on the held-out half begins above it, for a set that is reported."""
CARRIED_FLOOR = 0.3
"""A reported set carries at least this share of all that pushed the behaviour the way it went. Where large
changes cancel, some handful always adds up to what is left: such a set is picked, not found."""


class Held(NamedTuple):
    """A set on the held-out half."""

    recovered: Estimate | None
    """None where the interval of what was lost includes 0."""
    random: tuple[float, ...]
    """R of each random set."""
    carried: float
    turned: float
    """Change over the larger of both effects."""

    @property
    def why_not(self) -> list[str]:
        """Why the set is not reported; empty if it is."""
        if self.recovered is None:
            return ["the interval of the change on the held-out half includes 0"]
        found = []
        if self.turned < TURNED:
            found.append(f"the behaviour changed by {self.turned:.0%} of its size: a shift, not a switch")
        if not self.recovered.low >= HELD_FLOOR:
            found.append(f"on the held-out half the interval of R begins below {HELD_FLOOR}")
        if not self.random:
            found.append("there are no other units to draw random sets from")
        elif not self.recovered.low > max(self.random):
            found.append("random sets of its size or norm do as much on the held-out half")
        if self.carried < CARRIED_FLOOR:
            found.append(f"it carries {self.carried:.0%} of what pushed the behaviour, the rest cancels")
        return found
