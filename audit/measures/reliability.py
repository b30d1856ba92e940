"""Split-half reliability: would other items about the same entities give the same entity scores?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from audit.measures.bootstrap import FloatArray, IntArray
from audit.measures.layout import Contrast

MIN_ENTITIES = 3
"""A correlation over fewer entities is not reported."""


@dataclass(frozen=True)
class Reliability:
    """Spearman-Brown corrected split-half reliability of entity means."""

    value: float
    """Over all entities: what a suite must reach to carry a verdict."""
    within_group: float | None
    """The same after what counts as shared signal, the means of the groups or of all entities, is taken out;
    None without groups or a level. For information."""
    entities: int
    """Entities with at least two items, which alone can be split."""


def split_half_reliability(
    m: ArrayLike,
    entity: ArrayLike,
    *,
    group: ArrayLike | None = None,
    contrast: Contrast | None = None,
    level: float | None = None,
    splits: int = 200,
    seed: int = 0,
) -> Reliability | None:
    """Reliability of entity means on one model; None where it is undefined.

    Each split deals every entity's items into two random halves and correlates the half means over
    entities; the mean correlation r over splits becomes 2 r / (1 + r) (Spearman 1910, Brown 1910), the
    reliability of all items. r <= 0 is returned as it is: the correction means nothing there.

    The group difference counts as signal. b is a mean over entity scores or a difference of such means, so
    what must repeat is the entity score across items. A suite whose entities differ by group and by nothing
    else is a reliable contrast, and a suite without effect but with entity scores that repeat is reliable
    too; `within_group` tells the two apart.

    An entity with items in both groups of a contrast counts twice, once per group, each time without the
    mean of the two, its level, to which b is blind: what must repeat is how far its groups lie apart. Halves
    are then dealt inside each group.

    With a `level`, that of no effect of a suite whose b is a mean, what all entities share counts as signal
    as far as it lies off that level: deviations are taken from it instead of from the mean (Livingston
    1972, Journal of Educational Measurement 9(1), 13-26). A model that shows a behaviour with every entity
    alike is measured well, and entities around the level of no effect are as reliable as without it.

    Undefined: fewer than three entities with two items or more (in each of their groups, for such
    entities), or half means that do not vary.

    Raises:
        ValueError: shapes differ or a score is not finite.
    """
    scores = np.asarray(m, dtype=np.float64)
    frame = pd.DataFrame({"m": scores, "entity": np.asarray(entity, dtype=object)})
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    frame["group"] = "all" if group is None else pd.Series(np.asarray(group, dtype=object)).fillna("none")
    frame["side"] = 0
    if contrast is not None:
        frame["side"] = _sides(frame, contrast)
    in_cell = frame.groupby(["entity", "side"]).m.transform("size")
    frame = frame[in_cell.groupby(frame.entity).transform("min") >= 2].reset_index(drop=True)
    if frame.entity.nunique() < MIN_ENTITIES:
        return None
    halves, unit_group = _unit_halves(frame, splits, seed)
    value = _corrected(halves, level)
    if value is None:
        return None
    within = None if level is None else _corrected(halves)
    if group is not None:
        within = _corrected(halves - _group_means(halves, unit_group))
    return Reliability(value, within, frame.entity.nunique())


def _sides(frame: pd.DataFrame, contrast: Contrast) -> pd.Series:
    """+1 and -1 for the two groups of entities that are in both; 0 for the items of all other entities."""
    side = frame.group.map({contrast[0]: 1, contrast[1]: -1}).fillna(0).astype(np.int64)
    of_entity = side.groupby(frame.entity)
    both = (of_entity.transform("min") == -1) & (of_entity.transform("max") == 1)
    return side.where(both, 0)


class _Halves(NamedTuple):
    means: FloatArray
    """[splits, 2, units]: a unit is an entity, or one side of an entity that is on both."""
    group: ArrayLike
    """Of each unit."""


def _unit_halves(frame: pd.DataFrame, splits: int, seed: int) -> _Halves:
    entity = pd.factorize(frame.entity)[0]
    unit, units = pd.factorize(pd.MultiIndex.from_arrays([entity, frame.side]))
    halves = _half_means(frame.m.to_numpy(), unit.astype(np.int64), splits, seed)
    owner = np.array([number for number, _ in units])
    both = np.array([side != 0 for _, side in units])
    share = 0.5 * both[:, None] * (owner[:, None] == owner)
    return _Halves(halves - halves @ share, frame.groupby(unit).group.first().to_numpy())


def _half_means(items: FloatArray, code: IntArray, splits: int, seed: int) -> FloatArray:
    """[splits, 2, entities]: mean of each half of each entity's items, halves equal up to one item."""
    rng = np.random.default_rng(seed)
    sizes = np.bincount(code)
    starts = np.cumsum(sizes) - sizes
    means = np.empty((splits, 2, len(sizes)))
    owner = np.sort(code)
    for split in range(splits):
        order = np.lexsort((rng.random(len(code)), code))
        # Which half gets an odd entity's extra item is up to chance, too.
        place = np.arange(len(code)) - starts[owner] + rng.integers(0, 2, len(sizes))[owner]
        for half in (0, 1):
            chosen = place % 2 == half
            total = np.bincount(owner[chosen], weights=items[order][chosen], minlength=len(sizes))
            means[split, half] = total / np.bincount(owner[chosen], minlength=len(sizes))
    return means


def _group_means(halves: FloatArray, group: ArrayLike) -> FloatArray:
    """The mean over the group of each entity, per split and half, at the entity's place."""
    labels = pd.factorize(np.asarray(group, dtype=object))[0]
    member = (labels[:, None] == np.arange(labels.max() + 1)).astype(np.float64)
    means: FloatArray = (halves @ member) / member.sum(axis=0) @ member.T
    return means


def _corrected(halves: FloatArray, level: float | None = None) -> float | None:
    """Mean correlation of the two halves over splits, about a level if given, stepped up to full length."""
    centred = halves - (halves.mean(axis=-1, keepdims=True) if level is None else level)
    norms = np.linalg.norm(centred, axis=-1)
    tiny = 1e-12 * np.abs(halves).max(initial=1e-300)
    defined = (norms > tiny).all(axis=1)
    if not defined.any():
        return None
    products = (centred[defined, 0] * centred[defined, 1]).sum(axis=-1) / norms[defined].prod(axis=1)
    r = float(products.mean())
    return 2 * r / (1 + r) if r > 0 else r
