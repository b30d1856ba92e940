"""Random sets that an intervention is held against: as large, as strong and as active as the set itself.

A set that cannot be matched is not made: fewer sets come back, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

TRAITS = ("norm", "activity")
RATE = "rate"
"""How often a unit is active: matched by quantile as well as may be, and never a reason to have no match."""
FACTOR = 2.0
"""A match's norm and activity lie within this factor of the unit's own."""
QUANTILE = 0.1
"""Of those, only matches this near in the pool's quantiles are drawn,"""
NEAREST = 4
"""but at least so many of the nearest, and as many as sets are wanted."""
SAME_MODULE = 4
"""Matches in the unit's own module are preferred where there are so many of them."""
TRIES = 20
"""Draws per wanted set before the pool counts as exhausted."""

Rows = tuple[int, ...]


@dataclass(frozen=True)
class Controls:
    """Matched random sets."""

    sets: tuple[Rows, ...]
    """Row numbers of the pool, in the order of the target's units."""
    wanted: int
    reason: str | None
    """Why there are fewer sets than wanted."""


@dataclass(frozen=True)
class Match:
    """How well random sets match a target: mean trait of their units over that of the target's.

    None where the pool does not have the trait.
    """

    norm: float | None
    activity: float | None


def matched_sets(pool: pd.DataFrame, target: Sequence[int], *, count: int, seed: int) -> Controls:
    """Sets of other units of the same kinds, each unit near one of the target's in norm and activity.

    Args:
        pool: one row per unit: kind, module, norm, and activity (NaN where a kind has none); perhaps rate.
        target: rows that are to be matched; none of them enters a random set.
        count: sets wanted; no two are the same set.
        seed: of the draws.
    """
    if not target:
        raise ValueError("an empty set has no matches")
    choices = [_choices(pool, row, set(target), max(NEAREST, count)) for row in target]
    if alone := sum(len(found) == 0 for found in choices):
        return Controls((), count, _lonely(alone, len(target)))
    rng, found = np.random.default_rng(seed), dict[frozenset[int], Rows]()
    for _ in range(TRIES * count):
        if len(found) == count:
            break
        drawn = _draw(choices, rng)
        if drawn is not None:
            found.setdefault(frozenset(drawn), drawn)
    short = f"the pool holds matches for {len(found)} of {count} different random sets only"
    return Controls(tuple(found.values()), count, None if len(found) == count else short)


def match_of(pool: pd.DataFrame, target: Sequence[int], sets: Sequence[Rows]) -> Match:
    """How near the random sets came to the target; 1 is equal."""
    drawn = [row for rows in sets for row in rows]
    ratios = {}
    for trait in TRAITS:
        own, other = (float(pool[trait].iloc[list(rows)].mean()) for rows in (target, drawn))
        ratios[trait] = other / own if own else (1.0 if other == 0 else float("inf"))
    known = {trait: None if np.isnan(ratio) else ratio for trait, ratio in ratios.items()}
    return Match(known["norm"], known["activity"])


def random_directions(
    direction: Float[Tensor, " D"], count: int, seed: int
) -> tuple[Float[Tensor, " D"], ...]:
    """Directions of the same norm, at right angles to the given one, which carries the concept.

    Raises:
        ValueError: the direction is zero, or the space has no other direction.
    """
    norm = direction.norm()
    if not norm > 0 or len(direction) < 2:
        raise ValueError("a direction of length 0 has no matches")
    generator, unit = torch.Generator().manual_seed(seed), (direction / norm).double().cpu()
    drawn = torch.randn(count, len(direction), generator=generator, dtype=torch.float64)
    apart = drawn - (drawn @ unit)[:, None] * unit
    scaled = apart / apart.norm(dim=1, keepdim=True) * norm.double().cpu()
    return tuple(scaled.to(direction))


def shuffled_directions(
    points_ED: Float[Tensor, "E D"], direction: Float[Tensor, " D"], count: int, seed: int
) -> tuple[Float[Tensor, " D"], ...]:
    """Directions between random halves of some points, as long as the given one and at right angles to it.

    They lie where the points differ, as the given one does, and have lost their labels.

    Raises:
        ValueError: the direction is zero, or the points differ along no other.
    """
    norm = direction.norm()
    if not norm > 0:
        raise ValueError("a direction of length 0 has no matches")
    generator, unit = torch.Generator().manual_seed(seed), (direction / norm).double().cpu()
    spread = points_ED.double().cpu() - points_ED.double().cpu().mean(0)
    found = []
    for _ in range(count):
        order = torch.randperm(len(spread), generator=generator)
        half = len(spread) // 2
        drawn = spread[order[:half]].mean(0) - spread[order[half:]].mean(0)
        apart = drawn - (drawn @ unit) * unit
        if not apart.norm() > 1e-5 * norm:
            raise ValueError("the points differ along the direction alone")
        found.append((apart / apart.norm() * norm.double().cpu()).to(direction))
    return tuple(found)


def _choices(pool: pd.DataFrame, row: int, target: set[int], least: int) -> NDArray[np.int64]:
    """Rows that match one row: same kind, near in both traits, from its own module where that has enough."""
    own = pool.iloc[row]
    alike = pool["kind"].to_numpy() == own["kind"]
    near, distance = alike.copy(), np.zeros(len(pool))
    near[list(target)] = False
    for trait in TRAITS:
        if pd.isna(own[trait]):
            continue
        values = pool[trait].to_numpy(dtype=np.float64)
        near &= _within(values, float(own[trait]))
        distance = np.maximum(distance, np.abs(_ranks(values, alike, row)))
    if RATE in pool.columns and not pd.isna(own[RATE]):
        distance = np.maximum(distance, np.abs(_ranks(pool[RATE].to_numpy(dtype=np.float64), alike, row)))
    at_home = near & (pool["module"].to_numpy() == own["module"])
    rows = np.flatnonzero(at_home if at_home.sum() >= SAME_MODULE else near)
    rows = rows[np.argsort(distance[rows], kind="stable")]
    return rows[: max(least, int((distance[rows] <= QUANTILE).sum()))]


def _ranks(values: NDArray[np.float64], alike: NDArray[np.bool_], row: int) -> NDArray[np.float64]:
    """Quantiles among the units of a kind, less that of one row."""
    ordered = np.sort(values[alike])
    ranks = np.searchsorted(ordered, values) / len(ordered)
    found: NDArray[np.float64] = ranks - ranks[row]
    return found


def _within(values: NDArray[np.float64], own: float) -> NDArray[np.bool_]:
    return (values >= own / FACTOR) & (values <= own * FACTOR)


def _draw(choices: Sequence[NDArray[np.int64]], rng: np.random.Generator) -> Rows | None:
    """One set without a unit twice; units with few matches choose first. None: somebody found none left."""
    drawn: dict[int, int] = {}
    for i in sorted(range(len(choices)), key=lambda i: (len(choices[i]), i)):
        free = [int(row) for row in choices[i] if int(row) not in drawn.values()]
        if not free:
            return None
        drawn[i] = free[int(rng.integers(len(free)))]
    return tuple(drawn[i] for i in range(len(choices)))


def _lonely(alone: int, units: int) -> str:
    return (
        f"{alone} of {units} units have no other of their kind within a factor of {FACTOR:g} "
        "in norm and activity"
    )
