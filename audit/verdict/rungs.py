"""The rungs of the ladder inside the model that lacks the behaviour: what each of them says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from audit.calibration import Thresholds
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import DoseEvidence, LadderEvidence, WayEvidence
from audit.evidence.text import text_of
from audit.verdict.bars import Bar, Path, bar_of, beyond, path_of

DIRECTIONS = "directions: is the knowledge still decodable on held-out entities?"
BYPASS = "bypass: does something inside the tuned model bring the behaviour back?"
GATES = "sparse gates: does the model's own wiring carry it, where single units do not?"
PATH = "directions: does the class run through both models alike, down to the last layer?"
RELEARNING = "relearning: how fast does it return by training, against a concept it never had?"
ASKING = "elicitation: does asking differently bring it back?"
KNOWN = {
    "present": "the concept is still decodable in the {} model",
    "between": "whether the concept is still decodable in the {} model is unclear",
    "absent": "the concept is not decodable in the {} model where the other one holds it",
    "unknown": "the concept was not decodable enough in the {} model's counterpart to say what became of it",
}


@dataclass(frozen=True)
class Knowledge:
    """Is the concept there?"""

    state: Literal["present", "between", "absent", "unknown", "unmeasured"]
    said: list[str]
    missing: list[str]
    margin: float = 0.0


@dataclass(frozen=True)
class Ways:
    """Does something inside bring the behaviour back?"""

    open: bool
    """Some way counts."""
    closed: bool
    """None does, sparse gates and all: the model's own wiring does not carry it."""
    sealed: bool
    """Closed, and a new wire from the class to the answer does nothing either."""
    few: bool
    """A way that counts needs few units."""
    said: list[str]
    missing: list[str]
    margin_open: float = 0.0
    margin_closed: float = 0.0
    margin_sealed: float = 0.0


@dataclass(frozen=True)
class Relearning:
    """How fast does training bring it back?"""

    early: bool
    slow: bool
    """Certainly not early, by training that took hold in the end."""
    never: bool
    """Not even by the most steps."""
    said: list[str]
    missing: list[str]
    margin_slow: float = 0.0
    margin_never: float = 0.0


def knowledge(evidence: LadderEvidence, t: Thresholds) -> Knowledge:
    """Is the concept decodable in the lacking model, on held-out entities, where the other one holds it?

    It is present where the probe of the best place finds it, or any probe anywhere does, more than the
    largest of as many probes finds of shuffled classes. It is absent where none does, and the same probes
    find it in the model that shows the behaviour.
    """
    if evidence.unread is not None:
        return Knowledge("unmeasured", [f"the concept cannot be probed: {evidence.unread}"], [DIRECTIONS])
    if evidence.known is None or evidence.known_showing is None or evidence.known_null is None:
        return Knowledge("unmeasured", [], [DIRECTIONS])
    here = evidence.known if _end(evidence.known_low) > evidence.known_null else 0.0
    state = _state(evidence, max(here, _beyond_chance(evidence)), evidence.known, t)
    said = (
        f"{KNOWN[state].format(evidence.lacking)} ({evidence.known_where}: probe AUC "
        f"{evidence.known:.2f}, in the other model {evidence.known_showing:.2f}, classes that it never had "
        f"reach {evidence.known_null:.2f}{_elsewhere(evidence)}{_along(evidence)})"
    )
    margin = beyond(max(here, _beyond_chance(evidence)), t.known, 1.0)
    if state == "absent":
        margin = beyond(evidence.anywhere or 0.0, evidence.anywhere_null or 1.0, 0.5)
    decided = state in ("present", "absent")
    return Knowledge(state, [said], [] if decided else [DIRECTIONS], margin)


def _beyond_chance(evidence: LadderEvidence) -> float:
    """The largest AUC of all probes at all places, where it exceeds that of shuffled classes; else 0."""
    highest, null = evidence.anywhere, evidence.anywhere_null
    return highest if highest is not None and null is not None and highest > null else 0.0


def _state(
    evidence: LadderEvidence, found: float, known: float, t: Thresholds
) -> Literal["present", "between", "absent", "unknown"]:
    if found >= t.known:
        return "present"
    own = evidence.known_showing if _end(evidence.known_showing_low) > 0.5 else None
    if max(own or 0.0, evidence.anywhere_showing or 0.0) < t.known_showing:
        return "unknown"
    if evidence.anywhere is None or evidence.anywhere_null is None or evidence.anywhere_mlp is None:
        return "between"
    nowhere = evidence.anywhere <= evidence.anywhere_null and evidence.anywhere < t.known
    return "absent" if known <= t.chance and nowhere else "between"


def _elsewhere(evidence: LadderEvidence) -> str:
    if evidence.anywhere is None or evidence.anywhere_null is None:
        return ""
    return (
        f"; the best of all probes at all layers and positions {evidence.anywhere:.2f}, of classes that it "
        f"never had {evidence.anywhere_null:.2f}"
    )


def _along(evidence: LadderEvidence) -> str:
    if evidence.carried is None:
        return ""
    cosine = f"{evidence.carried:.2f}"
    return f"; at the last token of the deepest block the cosine of both models' directions is {cosine}"


class _Tried(NamedTuple):
    """One way back, and its sentence."""

    way: WayEvidence
    open: bool
    closed: bool
    """It does not carry the behaviour."""
    sealed: bool
    """It does nothing at all."""
    said: str


def ways(evidence: LadderEvidence, t: Thresholds) -> Ways:
    """Does something inside the lacking model, without the other one's weights or activations, work?"""
    bars = {name: bar_of(name, evidence, t) for name in evidence.ways}
    tried = {name: _tried(name, way, bars[name], t) for name, way in evidence.ways.items()}
    own = {name: found for name, found in tried.items() if name != "rewire"}
    working = {name: found.way for name, found in own.items() if found.open}
    closed = "gates" in own and all(found.closed for found in own.values())
    read = {name: way.recovered for name, way in evidence.ways.items() if way.recovered is not None}
    return Ways(
        open=bool(working),
        closed=closed,
        sealed=closed and all(found.sealed for found in tried.values()),
        few=any(_few(way, t) for way in working.values()),
        said=[found.said for found in tried.values()],
        missing=_missing(own, path_of(evidence, t)),
        margin_open=max((bars[name].margin_open(way) for name, way in working.items()), default=0.0),
        margin_closed=min(
            (bars[name].margin_closed(read[name]) for name in own if name in read), default=0.0
        ),
        margin_sealed=min((beyond(r, t.closed, 0.0) for r in read.values()), default=0.0),
    )


def _missing(own: Iterable[str], path: Path) -> list[str]:
    tried = set(own)
    if "gates" not in tried:
        return [GATES] if tried else [BYPASS, GATES]
    return [PATH] if path in ("between", "unknown") else []


def _tried(name: str, way: WayEvidence, bar: Bar, t: Thresholds) -> _Tried:
    if way.recovered is None:
        return _Tried(way, False, False, False, f"{way.what} could not be read on held-out items")
    share = _share(way.recovered, way.low, way.high)
    said = f"{way.what} brings back {share} of the loss on held-out items; {_controls(way)}"
    open_ = False
    if name == "rewire":
        said += "; it shows what can be read, not what is wired"
    elif not way.counts:
        said += f"; it does not count: {'; '.join(way.why_not)}"
    elif _end(way.low) <= bar.floor:
        said += f"; below the floor of {bar.floor:.0%}"
    elif bar.why_not:
        said += f"; {bar.why_not}"
    else:
        open_, said = True, f"{said}: {'localised' if _few(way, t) else 'distributed'}"
    closed = not open_ and way.recovered <= bar.ceiling
    return _Tried(way, open_, closed, closed and way.recovered <= t.closed, said)


def _few(way: WayEvidence, t: Thresholds) -> bool:
    return way.units <= t.localised_units and (way.recovered or 0.0) >= t.localised_share


def _controls(way: WayEvidence) -> str:
    return "no control could be made" if way.control is None else f"{way.controls} at most {way.control:.0%}"


def relearning(evidence: LadderEvidence, t: Thresholds) -> Relearning:
    """Does early training on some entities bring it back on others, and late training never?"""
    first = _at(evidence.relearned, t.relearn_steps)
    last = _at(evidence.relearned, t.relearn_most)
    if first is None or first.recovered is None:
        return Relearning(False, False, False, [], [RELEARNING])
    above = first.control is not None and _end(first.low) > max(0.0, first.control)
    strong = evidence.relearn_weaker is None
    took = any(_took(dose, t) for dose in evidence.relearned)
    slow = took and first.recovered <= t.relearn_slow
    never = last is not None and last.recovered is not None and _nothing(last, last.recovered, t)
    said = [_dose(dose) for dose in (first, last) if dose is not None]
    if evidence.relearn_weaker is not None:
        said.append(f"relearning says less here: {evidence.relearn_weaker}")
    most = last.recovered if last is not None and last.recovered is not None else 1.0
    return Relearning(
        early=strong and above and first.recovered >= t.relearn,
        slow=strong and slow,
        never=strong and slow and never,
        said=said,
        missing=[] if strong and first.control is not None else [RELEARNING],
        margin_slow=beyond(first.recovered, t.relearn_slow, 0.0),
        margin_never=beyond(most, t.relearn_last, 0.0),
    )


def _nothing(dose: DoseEvidence, recovered: float, t: Thresholds) -> bool:
    """No better than classes that the model never had; without those nothing can be said."""
    if dose.control is None or not _took(dose, t):
        return False
    return recovered <= t.relearn_last and (dose.low is None or dose.low <= max(0.0, dose.control))


def _took(dose: DoseEvidence, t: Thresholds) -> bool:
    return dose.recovered_fit is not None and dose.recovered_fit >= t.relearn_took


def _dose(dose: DoseEvidence) -> str:
    if dose.recovered is None:
        return f"{dose.steps} steps of training broke the model"
    on_fit = "unknown" if dose.recovered_fit is None else f"{dose.recovered_fit:.0%}"
    control = "not measured" if dose.control is None else f"at most {dose.control:.0%}"
    return (
        f"{dose.steps} steps of training on one half of the entities bring back "
        f"{_share(dose.recovered, dose.low, dose.high)} on the other half ({on_fit} on the trained ones; "
        f"classes that the model never had: {control})"
    )


def _at(doses: Iterable[DoseEvidence], steps: int) -> DoseEvidence | None:
    return next((dose for dose in doses if dose.steps == steps), None)


def _share(value: float, low: float | None, high: float | None) -> str:
    return text_of(Estimate(value=value, low=low, high=high, n=0), ".0%")


def _end(end: float | None) -> float:
    """A lower end; one that the data do not bound lies below everything."""
    return float("-inf") if end is None else end
