"""What is tried on a set of units, at which doses, and which control stands against it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from audit.causal.controls import match_of, matched_sets, random_directions
from audit.causal.interventions import READABLE, Action, Intervention, Latents, Steering
from audit.causal.traits import rows_of, unit_at
from audit.causal.units import Unit
from audit.causal.weight_edits import WeightDeltas

FIT_DOSES: dict[Action, tuple[float, ...]] = {
    "ablate": (0.5, 1.0),
    "negate": (1.0,),
    "rescale": (2.0,),
    "revert": (1.0,),
    "amplify": (1.0, 2.0, 4.0),
    "steer": (-1.0, 1.0),
    "latents": (1.0, 2.0),
}
"""Doses among which the fit half chooses."""
MULTIPLES = (0.5, 1.0, 2.0)
"""Of the chosen dose: the held-out dose-response."""
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

    @property
    def action(self) -> Action:
        """What is done."""
        return self.whole.action

    def at(self, dose: float) -> Intervention:
        """The same at another dose."""
        return replace(self.whole, dose=dose)


@dataclass(frozen=True)
class Against:
    """Control arms of one arm."""

    kind: str
    """matched: other units; transplanted: the set's own weight changes on other units; random change: one of
    the same norm in the same place; random directions: at right angles to the concept's."""
    arms: tuple[Arm, ...]
    norm: float | None
    """Mean norm of the control's units over the set's; None where it is equal by construction."""
    activity: float | None
    note: str | None
    """Why there are fewer controls than wanted, or of another kind."""


def unit_arms(name: str, description: str, units: Sequence[Unit]) -> list[Arm]:
    """What can be done to some units: activations of neurons and heads, weights of all."""
    active = tuple(unit for unit in units if unit.kind in READABLE)
    actions: tuple[Action, ...] = ("ablate", "negate", "rescale") if active else ()
    arms = [Arm(name, description, len(active), Intervention(action, 1.0, active)) for action in actions]
    return [*arms, Arm(name, description, len(units), Intervention("revert", 1.0, tuple(units)))]


def direction_arm(name: str, description: str, steering: Steering) -> Arm:
    """Amplification about a centre, or steering where there is none."""
    action: Action = "steer" if steering.centre is None else "amplify"
    return Arm(name, description, 1, Intervention(action, 1.0, steering=steering))


def latent_arm(name: str, description: str, latents: Latents) -> Arm:
    """Latents taken out of the residual stream."""
    return Arm(name, description, len(latents.indices), Intervention("latents", 1.0, latents=latents))


def curve(action: Action, dose: float) -> list[float]:
    """Held-out doses around the chosen one, in rising order; a scale of 1 is dose 0 of rescaling."""
    if action == "rescale":
        return [1 + (dose - 1) * multiple for multiple in MULTIPLES]
    return sorted(dose * multiple for multiple in MULTIPLES)


def controls_of(
    arm: Arm,
    traits: pd.DataFrame | None,
    written: pd.DataFrame | None,
    deltas: WeightDeltas | None,
    *,
    count: int,
    seed: int,
) -> Against:
    """What an arm is held against.

    Args:
        arm: the chosen one.
        traits: the pool of its kinds, with the norm that fits the action (weight changes for a revert).
        written: for a revert, the pool with norms of write weights: where no other units changed as much,
            the set's own changes are put on units that write as strongly.
        deltas: the weight changes, for reverts.
        count: controls wanted.
        seed: of the draws.
    """
    if arm.whole.steering is not None:
        return _random_directions(arm, arm.whole.steering, count, seed)
    if arm.whole.latents is not None:
        return Against("matched", (), None, None, "latents have no matched random sets here")
    if deltas is not None and any(unit.kind not in SLICED for unit in arm.whole.units):
        return _random_changes(arm, deltas, count, seed)
    if traits is None:
        raise ValueError(f"{arm.set}: units are matched by their traits")
    natural = _other_units(arm, traits, count, seed, "matched")
    if natural.arms or written is None:
        return natural
    moved = _other_units(arm, written, count, seed, "transplanted")
    return replace(moved, note="; ".join(filter(None, (natural.note, moved.note))))


class RandomChanges:
    """Weight changes with the norms of the real ones and nothing else of them."""

    def __init__(self, deltas: WeightDeltas, seed: int) -> None:
        self._deltas, self._seed = deltas, seed

    @property
    def names(self) -> Collection[str]:
        """The parameters that really changed."""
        return self._deltas.names

    def of(self, name: str) -> Tensor | None:
        """Gaussian, of the norm of the real change; the same at each call."""
        change = self._deltas.of(name)
        return None if change is None else self._like(change, name)

    def component(self, module: str, index: int) -> Tensor:
        """One rank, of the norm of the real component."""
        change = self._deltas.component(module, index)
        rows, columns = (self._like(change[:, 0], f"{module}:{index}:u"), change[0])
        outer = torch.outer(rows, self._like(columns, f"{module}:{index}:v"))
        scaled: Tensor = outer / outer.norm() * change.norm()
        return scaled

    def _like(self, change: Tensor, name: str) -> Tensor:
        place = sum((i + 1) * byte for i, byte in enumerate(name.encode()))
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + place)
        drawn = torch.randn(change.shape, generator=generator)
        scaled: Tensor = (drawn / drawn.norm() * change.norm().cpu()).to(change)
        return scaled


def _other_units(arm: Arm, pool: pd.DataFrame, count: int, seed: int, kind: str) -> Against:
    units = arm.whole.units
    target = rows_of(pool, units)
    found = matched_sets(pool, target, count=count, seed=seed)
    arms = []
    for rows in found.sets:
        chosen = tuple(unit_at(pool, row) for row in rows)
        sources = units if kind == "transplanted" else None
        arms.append(replace(arm, whole=replace(arm.whole, units=chosen, sources=sources)))
    match = match_of(pool, target, found.sets) if found.sets else None
    return Against(
        kind,
        tuple(arms),
        None if match is None or kind == "transplanted" else match.norm,
        None if match is None else match.activity,
        found.reason,
    )


def _random_changes(arm: Arm, deltas: WeightDeltas, count: int, seed: int) -> Against:
    arms = tuple(replace(arm, deltas=RandomChanges(deltas, seed + i)) for i in range(count))
    return Against("random change", arms, None, None, None)


def _random_directions(arm: Arm, steering: Steering, count: int, seed: int) -> Against:
    drawn = random_directions(steering.direction, count, seed)
    wholes = [replace(arm.whole, steering=replace(steering, direction=d)) for d in drawn]
    arms = tuple(replace(arm, whole=whole) for whole in wholes)
    return Against("random directions", arms, None, None, None)
