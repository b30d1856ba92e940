"""What is tried on a set of units, at which doses, and which control stands against it."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audit.causal.controls import match_of, matched_sets, random_directions, shuffled_directions
from audit.causal.gates import Gate
from audit.causal.interventions import READABLE, Action, Intervention, Latents, Steering
from audit.causal.residual_edits import steered
from audit.causal.traits import rows_of, unit_at
from audit.causal.units import Unit
from audit.causal.weight_edits import WeightDeltas

FIT_DOSES: dict[Action, tuple[float, ...]] = {
    "ablate": (0.5, 1.0),
    "negate": (1.0,),
    "rescale": (2.0,),
    "gate": (1.0,),
    "revert": (1.0,),
    "amplify": (1.0, 2.0, 4.0),
    "rewire": (0.5, 1.0, 2.0, 4.0),
    "steer": (-1.0, 1.0),
    "latents": (1.0, 2.0),
}
"""Doses among which the fit half chooses."""
MULTIPLES = (0.5, 1.0, 2.0)
"""Of the chosen dose: the held-out dose-response."""
LEAST_ENTITIES = 4
"""Points from which random directions can be drawn."""
SLICED = ("neuron", "head", "row")
"""Kinds whose units can be matched one by one."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One action on one set."""

    set: str
    """Name of the set, as the table has it."""
    description: str
    size: int
    whole: Intervention
    """At dose 1."""
    deltas: WeightDeltas | None = None
    """Weight changes that a control puts in the place of the real ones."""
    entities_ED: Tensor | None = None
    """For a direction: where the entities that it was made of lie, one point each."""
    pool: pd.DataFrame | None = None
    """For latents: the traits of all latents of the dictionary, among which controls are drawn."""
    gain: float = 1.0
    """What a control's doses are multiplied with, so that it adds as much as what it stands against."""

    @property
    def action(self) -> Action:
        """What is done."""
        return self.whole.action

    def at(self, dose: float) -> Intervention:
        """The same at another dose."""
        return replace(self.whole, dose=dose * self.gain)


@dataclass(frozen=True)
class Against:
    """Control arms of one arm."""

    kind: str
    """matched: other units, or latents, alike in norm and activity; scaled: other ones, each changed so many
    times over that its write is as large; random change: the set's own weight changes with random signs;
    random directions: between random halves of the same entities, at right angles to the concept's, adding
    as much; shuffled gates: the set's own gates on any units of their modules."""
    arms: tuple[Arm, ...]
    norm: float | None
    """Mean norm of the controls' units over the set's; None where it is equal by construction."""
    activity: float | None
    note: str | None
    """Why there are fewer controls than wanted, or of another kind."""


def unit_arms(name: str, description: str, units: Sequence[Unit]) -> list[Arm]:
    """What can be done to some units: activations of neurons and heads, weights of all."""
    active = tuple(unit for unit in units if unit.kind in READABLE)
    actions: tuple[Action, ...] = ("ablate", "negate", "rescale") if active else ()
    arms = [Arm(name, description, len(active), Intervention(action, 1.0, active)) for action in actions]
    return [*arms, Arm(name, description, len(units), Intervention("revert", 1.0, tuple(units)))]


def gate_arm(name: str, description: str, gates: Sequence[Gate]) -> Arm:
    """Learned gates on units."""
    units = tuple(gate.unit for gate in gates)
    whole = Intervention("gate", 1.0, units, strengths=tuple(gate.value for gate in gates))
    return Arm(name, description, len(units), whole)


def direction_arm(name: str, description: str, steering: Steering, entities_ED: Tensor | None = None) -> Arm:
    """A wire from a direction to what it writes; amplification about a centre; or steering without one.

    Args:
        name: of the set.
        description: whose direction it is.
        steering: the direction.
        entities_ED: the points that it is the difference of, from which its controls are drawn.
    """
    action: Action = "steer" if steering.centre is None else "amplify"
    if steering.write is not None:
        action = "rewire"
    whole = Intervention(action, 1.0, steering=steering)
    return Arm(name, description, 1, whole, entities_ED=entities_ED)


def latent_arm(name: str, description: str, latents: Latents, pool: pd.DataFrame) -> Arm:
    """Latents taken out of the residual stream.

    Args:
        name: of the set.
        description: what the latents are.
        latents: the set.
        pool: one row per latent of the dictionary, in their order; see `audit.causal.latents.traits`.
    """
    whole = Intervention("latents", 1.0, latents=latents)
    return Arm(name, description, len(latents.indices), whole, pool=pool)


def curve(action: Action, dose: float) -> list[float]:
    """Held-out doses around the chosen one, in rising order; a scale of 1 is dose 0 of rescaling."""
    if action == "rescale":
        return [1 + (dose - 1) * multiple for multiple in MULTIPLES]
    return sorted(dose * multiple for multiple in MULTIPLES)


def controls_of(
    arm: Arm, traits: pd.DataFrame | None, deltas: WeightDeltas | None, *, count: int, seed: int
) -> Against:
    """What an arm is held against.

    Args:
        arm: the chosen one.
        traits: the pool of its kinds, with the norm that fits the action (weight changes for a revert).
        deltas: the weight changes, for reverts.
        count: controls wanted.
        seed: of the draws.
    """
    if arm.whole.steering is not None:
        return _random_directions(arm, arm.whole.steering, count, seed)
    if arm.pool is not None:
        traits, deltas = arm.pool, None
    if deltas is not None and any(unit.kind not in SLICED for unit in arm.whole.units):
        return _random_changes(arm, deltas, count, seed)
    if traits is None:
        raise ValueError(f"{arm.set}: units are matched by their traits")
    natural = _other_units(arm, traits, traits, count, seed, "matched")
    if natural.arms:
        return natural
    if deltas is not None:
        return replace(_random_changes(arm, deltas, count, seed), note=natural.note)
    for ignored in (["norm"], ["norm", "activity"]):
        pool = traits.assign(**dict.fromkeys(ignored, float("nan")))
        instead = _other_units(arm, traits, pool, count, seed, "scaled")
        if instead.arms:
            said = f"{natural.note}: {' and '.join(ignored)} made equal by construction instead"
            return replace(instead, note="; ".join(filter(None, (said, instead.note))))
    return _shuffled(arm, traits, count, seed, natural.note) if arm.action == "gate" else natural


class RandomChanges:
    """The weight changes with random signs: every entry, slice and tensor as large, in another direction."""

    def __init__(self, deltas: WeightDeltas, seed: int) -> None:
        self._deltas, self._seed = deltas, seed

    @property
    def names(self) -> Collection[str]:
        """The parameters that really changed."""
        return self._deltas.names

    def of(self, name: str) -> Tensor | None:
        """The same at each call."""
        change = self._deltas.of(name)
        return None if change is None else change * self._signs(change.shape, name).to(change)

    def component(self, module: str, index: int) -> Tensor:
        """Still of one rank, along random vectors."""
        change = self._deltas.component(module, index)
        generator = self._generator(f"{module}:{index}")
        u, v = (torch.randn(n, generator=generator).to(change) for n in change.shape)
        scaled: Tensor = torch.outer(u, v) * (change.norm() / (u.norm() * v.norm()))
        return scaled

    def _signs(self, shape: torch.Size, name: str) -> Tensor:
        return torch.randint(0, 2, shape, generator=self._generator(name)) * 2 - 1

    def _generator(self, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed * 1_000_003 + zlib.crc32(name.encode()))


def _other_units(
    arm: Arm, traits: pd.DataFrame, pool: pd.DataFrame, count: int, seed: int, kind: str
) -> Against:
    """Sets of other units, near in those traits that the pool still has."""
    target = _rows(arm.whole, pool)
    found = matched_sets(pool, target, count=count, seed=seed)
    arms = []
    for rows in found.sets:
        strengths = arm.whole.strengths
        if kind == "scaled":
            strengths = _strengths(traits, target, rows, strengths)
        arms.append(replace(arm, whole=_of_rows(arm.whole, pool, rows, strengths)))
    match = match_of(pool, target, found.sets) if found.sets else None
    by_norm = match.norm if match is not None and kind == "matched" else None
    return Against(kind, tuple(arms), by_norm, match.activity if match else None, found.reason)


def _shuffled(arm: Arm, traits: pd.DataFrame, count: int, seed: int, note: str | None) -> Against:
    """The same gates, dealt anew to all units of each module: where so many have one that none is left."""
    rng, own = np.random.default_rng(seed), _rows(arm.whole, traits)
    module = traits["module"].to_numpy()
    arms = []
    for _ in range(count):
        dealt = np.array(own)
        for name in set(module[own]):
            places = np.flatnonzero(module[own] == name)
            dealt[places] = rng.choice(np.flatnonzero(module == name), len(places), replace=False)
        whole = _of_rows(arm.whole, traits, dealt.tolist(), arm.whole.strengths)
        arms.append(replace(arm, whole=whole))
    return Against("shuffled gates", tuple(arms), None, None, note)


def _rows(whole: Intervention, pool: pd.DataFrame) -> list[int]:
    return rows_of(pool, whole.units) if whole.latents is None else list(whole.latents.indices)


def _of_rows(
    whole: Intervention, pool: pd.DataFrame, rows: Sequence[int], strengths: tuple[float, ...] | None
) -> Intervention:
    """The same done to other rows of the pool."""
    if whole.latents is not None:
        return replace(whole, latents=replace(whole.latents, indices=tuple(rows), strengths=strengths))
    return replace(whole, units=tuple(unit_at(pool, row) for row in rows), strengths=strengths)


def _strengths(
    traits: pd.DataFrame, target: Sequence[int], rows: Sequence[int], own: Sequence[float] | None
) -> tuple[float, ...]:
    """How many times over each unit is changed, so that its mean write changes by as much as the target's."""
    writes = (traits["norm"] * traits["activity"].fillna(1.0)).to_numpy(dtype=float)
    pairs = zip(own or [1.0] * len(rows), writes[list(target)], writes[list(rows)], strict=True)
    return tuple(strength * float(target / other) if other else strength for strength, target, other in pairs)


def _random_changes(arm: Arm, deltas: WeightDeltas, count: int, seed: int) -> Against:
    arms = tuple(replace(arm, deltas=RandomChanges(deltas, seed + i)) for i in range(count))
    return Against("random change", arms, None, None, None)


def _random_directions(arm: Arm, steering: Steering, count: int, seed: int) -> Against:
    """Other directions of the same length; where the entities are known, among those that they differ in.

    A direction drawn at random is one in which activations hardly vary, so that enlarging what they have
    along it changes next to nothing: too weak a control.
    """
    points = arm.entities_ED
    if points is None or len(points) < LEAST_ENTITIES:
        drawn = random_directions(steering.direction, count, seed)
        points = None
    else:
        drawn = shuffled_directions(points, steering.direction, count, seed)
    arms = []
    for direction in drawn:
        other = replace(steering, direction=direction)
        gain = 1.0 if points is None else _added(steering, points) / _added(other, points)
        arms.append(replace(arm, whole=replace(arm.whole, steering=other), gain=gain))
    return Against("random directions", tuple(arms), None, None, None)


def _added(steering: Steering, points_ED: Tensor) -> float:
    """How much steering at dose 1 adds to some points on average."""
    points = points_ED.float()
    moved = steered(points[None], steering, 1.0)[0] - points
    return float(moved.norm(dim=1).mean())
