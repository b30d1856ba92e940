"""The smallest set of units whose base weights bring a behaviour back: greedy along the attribution.

Everything here is chosen on the fit half. A set is shown on the held-out half, beside random sets of its size
and of the norm of its weight change (`audit.stages.switches`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audit.causal.attributed import Candidate, WeightAttribution
from audit.causal.deltas import Deltas
from audit.causal.interventions import Intervention, intervened
from audit.causal.objective import Objective
from audit.causal.spectrum import standing_out
from audit.causal.units import Kind, Layout, Unit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SEARCHED: tuple[Kind, ...] = ("neuron", "head", "row", "component")
SLICES_PER_COMPONENT = 4


@dataclass(frozen=True)
class SearchSettings:
    """How far the search goes and when a set is enough."""

    largest: int
    """Most units of a set."""
    target: float = 0.9
    """Share of the lost effect that a set should restore; growth stops there."""
    floor: float = 0.5
    """A kind whose largest set restores less is given up: the switch is not in few units of it."""
    material: float = 0.02
    """Units with at least this share of the attributed change are candidates, however few would do."""
    spared: float = 0.01
    """A unit whose removal costs less of R than this is pruned."""
    prunings: int = 8
    """Units tried for removal, the weakest first, and for addition, the strongest first."""
    share_of_kind: float = 0.25
    """A set may hold at most this share of a kind's changed units: half the model is no switch."""


@dataclass
class Trials:
    """R of reverted sets on one objective; asked twice, a set is run once.

    Costs one forward pass over the items per new set.
    """

    model: PreTrainedModel
    """The tuned model."""
    layout: Layout
    deltas: Deltas
    objective: Objective
    scores_base: Float[Tensor, " N"]
    scores_tuned: Float[Tensor, " N"]
    batch_size: int
    runs: dict[tuple[frozenset[Unit], float], Tensor] = field(default_factory=dict)

    def scores(self, units: Iterable[Unit], dose: float = 1.0) -> Float[Tensor, " N"]:
        """Scores m of the items with the units' weights taken back towards the base's."""
        key = frozenset(units), dose
        if key not in self.runs:
            back = Intervention("revert", dose, tuple(sorted(key[0])))
            with intervened(self.model, self.layout, [back], self.deltas):
                self.runs[key] = self.objective.scores(self.model, self.batch_size)
        return self.runs[key]

    def recovered(self, units: Iterable[Unit], dose: float = 1.0) -> float:
        """R = (b_reverted - b_tuned) / (b_base - b_tuned), without an interval."""
        scores = (self.scores_base, self.scores_tuned, self.scores(units, dose))
        base, tuned, now = (float(self.objective.effect(m)) for m in scores)
        return (now - tuned) / (base - tuned)


class Found(NamedTuple):
    """What the search found among the units of one kind."""

    kind: Kind
    units: tuple[Unit, ...]
    """Strongest attribution first; empty where no set within the limit restored the floor."""
    recovered: float
    """R of the set on the fit half; of the largest set that was tried, where none was found."""
    tried: int
    """Size of the largest set that was run."""


def minimal_set(
    trials: Trials, attribution: WeightAttribution, kind: Kind, settings: SearchSettings
) -> Found:
    """Grows a set along the attribution by doubling, cuts it to the first size that will do, prunes it.

    What follows in the attribution and still brings back more is added at last.
    """
    limit = _limit(trials.layout, attribution, kind, settings)
    candidates = _candidates(trials, attribution, kind, limit)
    if not candidates:
        return Found(kind, (), 0.0, 0)
    size, goal, tried = _grown(trials, candidates, attribution.change, settings)
    ranked = [candidate.unit for candidate in candidates]
    if size == 0:
        return Found(kind, (), trials.recovered(ranked[:tried]), tried)
    units = _completed(trials, _pruned(trials, ranked[:size], goal, settings), ranked[size:], settings)
    return Found(kind, tuple(units), trials.recovered(units), tried)


def near(recovered: float) -> float:
    """How near R is to 1, as an R: bringing back too much counts like too little."""
    return min(recovered, 2 - recovered)


def smallest(
    found: Sequence[Found], deltas: Deltas, layout: Layout, target: float = SearchSettings.target
) -> Found | None:
    """The set to report among those of all kinds; None where no kind has one.

    Sets that reach the target come before those that do not. Of these, neurons, heads and rows come before
    components wherever they are as few, or at most `SLICES_PER_COMPONENT` times as many and the components
    themselves hold most of their weight in few neurons, heads or rows: an edit of one unit along one
    direction is both.
    """
    sets = [f for f in found if f.units]
    sets = [f for f in sets if near(f.recovered) >= target] or sets
    slices = min((f for f in sets if f.kind != "component"), key=lambda f: len(f.units), default=None)
    components = next((f for f in sets if f.kind == "component"), None)
    if slices is None or components is None:
        return slices or components
    few, many = len(components.units), len(slices.units)
    confined = many <= SLICES_PER_COMPONENT * few and all(
        is_confined(deltas, layout, unit) for unit in components.units
    )
    return slices if confined or many <= few else components


def is_confined(
    deltas: Deltas, layout: Layout, unit: Unit, energy: float = 0.9, share: float = 1 / 3
) -> bool:
    """Whether few neurons, heads or rows hold most of a component: `energy` of it in a `share` of them."""
    matrix = deltas.component(unit.module, unit.index)
    for axis, width in _axes(layout, unit.module):
        along = matrix.pow(2).sum(1 - axis).view(-1, width).sum(1).sort(descending=True).values
        needed = int((along.cumsum(0) < energy * along.sum()).sum()) + 1
        if needed <= share * len(along):
            return True
    return False


class RandomSet(NamedTuple):
    """A control: random changed units of the kind of a set, and the dose at which they are reverted."""

    units: tuple[Unit, ...]
    dose: float
    matched: str
    """size: as many units, their whole change; norm: the change stretched to the norm of the set's."""


def random_sets(
    attribution: WeightAttribution, layout: Layout, deltas: Deltas, found: Found, *, count: int, seed: int
) -> list[RandomSet]:
    """`count` random sets matched in size, and the same ones matched in the norm of their change too."""
    pool = [unit for unit in changed_units(attribution, layout, found.kind) if unit not in set(found.units)]
    rng = np.random.default_rng(seed)
    norm = _norm(deltas, layout, found.units)
    sets = []
    for _ in range(count if pool else 0):
        chosen = rng.choice(len(pool), size=min(len(found.units), len(pool)), replace=False)
        units = tuple(pool[i] for i in sorted(chosen.tolist()))
        own = _norm(deltas, layout, units)
        sets.append(RandomSet(units, 1.0, "size"))
        if own > 0:
            sets.append(RandomSet(units, norm / own, "norm"))
    return sets


def changed_units(attribution: WeightAttribution, layout: Layout, kind: Kind) -> list[Unit]:
    """Every unit of a kind whose weights changed, as far as the attribution can tell."""
    return [
        Unit(kind, module, int(i))
        for module, values in attribution.by_unit(layout, kind).items()
        for i in torch.arange(len(values)).tolist()
    ]


def _candidates(trials: Trials, attribution: WeightAttribution, kind: Kind, limit: int) -> list[Candidate]:
    """The strongest attributions; of components only those that stand out of their module's bulk."""
    if kind != "component":
        return attribution.ranked(trials.layout, kind, limit)
    counts = {
        module: standing_out(trials.deltas, module) for module in attribution.by_unit(trials.layout, kind)
    }
    ranked = attribution.ranked(trials.layout, kind)
    return [c for c in ranked if c.unit.index < counts[c.unit.module]][:limit]


def _limit(layout: Layout, attribution: WeightAttribution, kind: Kind, settings: SearchSettings) -> int:
    changed = sum(len(values) for values in attribution.by_unit(layout, kind).values())
    return min(settings.largest, max(1, int(settings.share_of_kind * changed)))


class _Size(NamedTuple):
    """How many candidates make the set (0: none will do), what R it should keep, the most that were run."""

    size: int
    goal: float
    tried: int


def _grown(trials: Trials, candidates: Sequence[Candidate], change: float, settings: SearchSettings) -> _Size:
    def recovered(size: int) -> float:
        return near(trials.recovered(candidate.unit for candidate in candidates[:size]))

    material = sum(abs(c.value) >= settings.material * abs(change) for c in candidates)
    if material and recovered(material) >= settings.target:
        return _Size(material, settings.target, material)
    most = len(candidates)
    if recovered(most) < settings.floor:
        return _Size(0, settings.floor, most)
    goal = min(settings.target, 0.9 * recovered(most))
    size = max(1, material)
    while recovered(size) < goal:
        size = min(2 * size, most)
    return _Size(max(_first(recovered, size // 2, size, goal), material), goal, most)


def _first(recovered: Callable[[int], float], low: int, high: int, goal: float) -> int:
    """Smallest size in (low, high] that reaches the goal, by bisection; `high` does."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if recovered(middle) >= goal else (middle, high)
    return high


def _pruned(trials: Trials, units: Sequence[Unit], goal: float, settings: SearchSettings) -> list[Unit]:
    kept, now = list(units), near(trials.recovered(units))
    for unit in list(reversed(units))[: settings.prunings]:
        without = [other for other in kept if other != unit]
        if not without:
            break
        left = near(trials.recovered(without))
        if left >= max(min(goal, now), now - settings.spared):
            kept, now = without, left
    return kept


def _completed(
    trials: Trials, units: Sequence[Unit], following: Sequence[Unit], settings: SearchSettings
) -> list[Unit]:
    kept, now = list(units), near(trials.recovered(units))
    for unit in following[: settings.prunings]:
        more = near(trials.recovered([*kept, unit]))
        if more > now + settings.spared:
            kept, now = [*kept, unit], more
    return kept


def _axes(layout: Layout, module: str) -> list[tuple[int, int]]:
    """Axes of a module's weight along which units lie, and how wide each unit is there."""
    found = []
    for block in layout.blocks:
        for reader in (*block.mlp_in, block.mlp_out):
            if reader == module:
                found.append((_axis(layout, module, reader != block.mlp_out), 1))
        for name in (block.query, block.attention_out):
            if name == module and block.attention_out is not None:
                width = layout.head_width(block.attention_out)
                found.append((_axis(layout, module, name == block.query), width))
    return [(0, 1)] if module == layout.unembedding else found


def _axis(layout: Layout, module: str, output: bool) -> int:
    return 0 if output != layout.transposed(module) else 1


def _norm(deltas: Deltas, layout: Layout, units: Iterable[Unit]) -> float:
    return float(sum(deltas.norm(layout, unit) ** 2 for unit in units) ** 0.5)
