"""How much a way back has to bring back, and for learned gates also where the class has to run.

Enough gates build a path where none was, which brings back a part of the behaviour: so they are asked for
more than other ways. And they speak for own wiring only where the class runs through both models alike.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from audit.calibration import Thresholds
from audit.evidence.schema.results import LadderEvidence, WayEvidence

Path = Literal["same", "between", "other", "unknown"]
"""Where the class runs through the lacking model: as in the showing one, or elsewhere."""
WHY_NOT: dict[Path, str] = {
    "same": "",
    "between": "whether the class runs through this model as through the other one is unclear",
    "other": "the class runs through this model along another path than through the other one: such gates "
    "build a way of their own",
    "unknown": "where the class runs through this model was not measured",
}


class Bar(NamedTuple):
    """What one way back is held against, R."""

    floor: float
    """Its lower end has to exceed it, to count."""
    ceiling: float
    """Up to here it speaks against own wiring."""
    sure: float
    """Up to here it does so wherever the class runs."""
    why_not: str = ""
    """Why it does not count above the floor either, if so."""
    path_open: float = 1.0
    """How far the path lies past its threshold, for a way that counts."""
    path_closed: float = 1.0
    """The same for one that is closed by its path alone."""

    def margin_open(self, way: WayEvidence) -> float:
        """Of a way that counts."""
        low = float("-inf") if way.low is None else way.low
        return min(beyond(low, self.floor, 1.0), self.path_open)

    def margin_closed(self, recovered: float) -> float:
        """Of one that does not carry the behaviour."""
        margin = beyond(recovered, self.ceiling, 0.0)
        return margin if recovered <= self.sure else min(margin, self.path_closed)


def bar_of(name: str, evidence: LadderEvidence, t: Thresholds) -> Bar:
    """The bar of a way back, by its name."""
    if name != "gates":
        return Bar(t.bypass, t.closed, t.closed)
    path, cosine = path_of(evidence, t), evidence.carried or 0.0
    return Bar(
        floor=t.gates,
        ceiling=max(t.gates_built, t.gates_closed) if path == "other" else t.gates_closed,
        sure=t.gates_closed,
        why_not=WHY_NOT[path],
        path_open=beyond(cosine, t.carried, 1.0),
        path_closed=beyond(cosine, t.elsewhere, 0.0),
    )


def path_of(evidence: LadderEvidence, t: Thresholds) -> Path:
    """Does the class run through the lacking model along the directions that it has in the showing one?"""
    if evidence.carried is None:
        return "unknown"
    if evidence.carried >= t.carried:
        return "same"
    return "other" if evidence.carried <= t.elsewhere else "between"


def beyond(value: float, threshold: float, far: float) -> float:
    """How far a number lies past its threshold, as a share of the way to the far end of its scale: 0 to 1."""
    span = far - threshold
    return min(1.0, max(0.0, (value - threshold) / span)) if span else 0.0
