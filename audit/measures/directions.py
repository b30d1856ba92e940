"""The direction of a concept in two models: mean of class A minus mean of class B, over entities.

A cosine of two such directions means little by itself: in high dimensions noise alone makes it small, and
models that read the same texts share noise, which makes it large. So it is read against its split-half
ceiling, and given once more across halves, where no entity enters both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from audit.measures.bootstrap import Estimate, FloatArray

BoolArray = NDArray[np.bool_]
FLOOR = 0.5
"""Reliability from which a direction is measurable."""
MIN_ENTITIES = 4
"""Entities of each class without which nothing is said."""


@dataclass(frozen=True)
class DirectionComparison:
    """A concept's direction in the tuned model against the base."""

    cosine: Estimate | None
    """Of the two directions, both from all entities; jackknife interval over entities."""
    reliability_base: float | None
    """Cosine that the base's direction would have with one from as many other entities: the mean split-half
    cosine r stepped up by 2 r / (1 + r). r <= 0 is given as it is: there is no direction to speak of."""
    reliability_tuned: float | None
    ceiling: float | None
    """sqrt(reliability_base x reliability_tuned): what the cosine of equal directions would be if the two
    models were read on different entities. None where either is not positive."""
    corrected_cosine: float | None
    """Across halves, over what each model reaches within: free of the noise that the models share, about 1
    for equal directions (Spearman 1904). None where not measurable."""
    norm_ratio: Estimate | None
    """Norm of the tuned direction over the base's, noise included."""
    corrected_norm_ratio: float | None
    """The same from products across halves, in which noise cancels: 0 for a direction that is gone. None
    where the base's direction is not reliable."""
    variance_ratio: float | None
    """Variance of entities inside their class along each model's own direction, tuned over base."""
    measurable: bool
    """Both reliabilities reach the floor."""


NOTHING = DirectionComparison(None, None, None, None, None, None, None, None, measurable=False)


def compare_directions(
    base: FloatArray,
    tuned: FloatArray,
    is_a: BoolArray,
    *,
    halves: int = 100,
    seed: int = 0,
    floor: float = FLOOR,
) -> DirectionComparison:
    """Everything about a concept's direction in two models.

    Args:
        base: mean activation of each entity [E, D].
        tuned: the same entities in the tuned model [E, D].
        is_a: class of each entity [E].
        halves: random splits of the entities into two halves, each class evenly.
        seed: of the halves.
        floor: reliability below which `measurable` is false.

    Raises:
        ValueError: shapes differ.
    """
    if base.shape != tuned.shape or len(base) != len(is_a):
        raise ValueError(f"activations of {base.shape} and {tuned.shape} for {len(is_a)} entities")
    if min(is_a.sum(), (~is_a).sum()) < MIN_ENTITIES:
        return NOTHING

    def reaches(reliability: float | None) -> bool:
        return reliability is not None and reliability >= floor

    gram = _Gram(base, tuned)
    rng = np.random.default_rng(seed)
    split = gram.halves(_half_weights(is_a, halves, rng))
    whole = _weights(np.ones((1, len(is_a))), is_a)
    without = _weights(1 - np.eye(len(is_a)), is_a)
    reliabilities = (_stepped_up(split.cosine_base), _stepped_up(split.cosine_tuned))
    measurable = all(reaches(r) for r in reliabilities)
    return DirectionComparison(
        cosine=_jackknife(gram.cosine(whole), gram.cosine(without), is_a, bounds=(-1.0, 1.0)),
        reliability_base=reliabilities[0],
        reliability_tuned=reliabilities[1],
        ceiling=_ceiling(*reliabilities),
        corrected_cosine=split.corrected_cosine() if measurable else None,
        norm_ratio=_jackknife(gram.norm_ratio(whole), gram.norm_ratio(without), is_a, bounds=(0.0, np.inf)),
        corrected_norm_ratio=split.corrected_norm_ratio() if reaches(reliabilities[0]) else None,
        variance_ratio=_variance_ratio(base, tuned, is_a),
        measurable=measurable,
    )


@dataclass(frozen=True)
class _Halves:
    """Means over random halves; products are of directions from different halves."""

    cosine_base: float
    cosine_tuned: float
    base: float
    """Inner product of the base's two halves: its squared norm without noise."""
    tuned: float
    across: float

    def corrected_cosine(self) -> float | None:
        both = self.base * self.tuned
        return self.across / float(np.sqrt(both)) if self.base > 0 and both > 0 else None

    def corrected_norm_ratio(self) -> float | None:
        return float(np.sqrt(max(self.tuned, 0.0) / self.base)) if self.base > 0 else None


class _Gram:
    """Inner products of entities, from which those of all weighted directions follow."""

    def __init__(self, base: FloatArray, tuned: FloatArray) -> None:
        centre = base.mean(axis=0), tuned.mean(axis=0)  # weights sum to 0: only rounding cares
        b, t = base.astype(np.float64) - centre[0], tuned.astype(np.float64) - centre[1]
        self.bb, self.tt, self.bt = b @ b.T, t @ t.T, b @ t.T

    def cosine(self, w: FloatArray) -> FloatArray:
        """Of base and tuned under the same weights: [draws, E] -> [draws]; NaN without a direction."""
        return _ratio(_product(w, self.bt, w), self._norm(w, self.bb) * self._norm(w, self.tt))

    def norm_ratio(self, w: FloatArray) -> FloatArray:
        return _ratio(self._norm(w, self.tt), self._norm(w, self.bb))

    def halves(self, w: FloatArray) -> _Halves:
        """From the weights of both halves [splits, 2, E]."""
        one, other = w[:, 0], w[:, 1]
        base, tuned = _product(one, self.bb, other), _product(one, self.tt, other)
        across = (_product(one, self.bt, other) + _product(other, self.bt, one)) / 2
        cosine_base = _ratio(base, self._norm(one, self.bb) * self._norm(other, self.bb))
        cosine_tuned = _ratio(tuned, self._norm(one, self.tt) * self._norm(other, self.tt))
        means = (float(np.mean(values)) for values in (cosine_base, cosine_tuned, base, tuned, across))
        return _Halves(*means)

    def _norm(self, w: FloatArray, gram: FloatArray) -> FloatArray:
        return np.sqrt(np.clip(_product(w, gram, w), 0.0, None))


def _product(one: FloatArray, gram: FloatArray, other: FloatArray) -> FloatArray:
    return np.asarray(((one @ gram) * other).sum(axis=-1), dtype=np.float64)


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    empty = np.full(np.shape(above), np.nan)
    return np.asarray(np.divide(above, below, out=empty, where=below > 0), dtype=np.float64)


def _weights(counts: FloatArray, is_a: BoolArray) -> FloatArray:
    """[draws, E] counts of entities as weights of the mean difference."""
    a, b = counts * is_a, counts * ~is_a
    weights: FloatArray = a / a.sum(axis=-1, keepdims=True) - b / b.sum(axis=-1, keepdims=True)
    return weights


def _half_weights(is_a: BoolArray, halves: int, rng: np.random.Generator) -> FloatArray:
    """[halves, 2, E] weights of the mean difference of either half; an odd entity falls where it may."""
    inside = np.zeros((halves, len(is_a)))
    for side in (True, False):
        members = np.flatnonzero(is_a == side)
        for row in inside:
            size = (len(members) + int(rng.integers(0, 2))) // 2
            row[rng.permutation(members)[:size]] = 1.0
    return np.stack([_weights(inside, is_a), _weights(1 - inside, is_a)], axis=1)


def _jackknife(
    value: FloatArray, without: FloatArray, is_a: BoolArray, *, bounds: tuple[float, float]
) -> Estimate | None:
    """Student's interval with the standard error of the delete-one jackknife over entities.

    Not a bootstrap: resampled directions carry the noise twice, which shifts cosines and norm ratios.
    """
    if not np.isfinite(value).all() or not np.isfinite(without).all():
        return None
    parts = [(int(side.sum()) - 1) * without[side].var() for side in (is_a, ~is_a)]
    width = float(stats.t.ppf(0.975, len(is_a) - 2) * np.sqrt(sum(parts)))
    centre = float(np.clip(value[0], *bounds))
    low, high = np.clip([centre - width, centre + width], *bounds)
    return Estimate(centre, float(low), float(high), len(is_a))


def _stepped_up(half: float) -> float | None:
    """Spearman 1910, Brown 1910: from half of the entities to all of them."""
    if not np.isfinite(half):
        return None
    return half if half <= 0 else 2 * half / (1 + half)


def _ceiling(base: float | None, tuned: float | None) -> float | None:
    if base is None or tuned is None or base <= 0 or tuned <= 0:
        return None
    return float(np.sqrt(base * tuned))


def _variance_ratio(base: FloatArray, tuned: FloatArray, is_a: BoolArray) -> float | None:
    variances = [_variance_along_direction(x.astype(np.float64), is_a) for x in (base, tuned)]
    return variances[1] / variances[0] if variances[0] > 0 else None


def _variance_along_direction(x: FloatArray, is_a: BoolArray) -> float:
    direction = x[is_a].mean(axis=0) - x[~is_a].mean(axis=0)
    norm = float(np.linalg.norm(direction))
    if norm == 0:
        return 0.0
    along = x @ (direction / norm)
    return float(sum(((along[s] - along[s].mean()) ** 2).sum() for s in (is_a, ~is_a)) / (len(x) - 2))
