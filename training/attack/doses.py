"""Doses of training: where to stop and look, and where a killed run may go on from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

R = TypeVar("R")


@dataclass(frozen=True)
class Dose(Generic[R]):
    """A moment of a training run at which the policy is looked at."""

    steps: int
    """Steps done so far."""
    since: tuple[R, ...]
    """Records of the steps since the dose before."""


def at_doses(records: Iterable[R], doses: Sequence[int]) -> Iterator[Dose[R]]:
    """Runs a training up to its last dose and stops at each.

    While the consumer looks, the policy is what so many steps made of it: `records` is asked for the next
    step only when the consumer asks for the next dose, and never beyond the last one.

    Args:
        records: one per step, each yielded right after its step.
        doses: numbers of steps, ascending; those below 1 are passed over.
    """
    wanted = [dose for dose in doses if dose > 0]
    since: list[R] = []
    for done, record in enumerate(records if wanted else (), 1):
        since.append(record)
        if done == wanted[0]:
            yield Dose(done, tuple(since))
            since.clear()
            wanted.pop(0)
            if not wanted:
                return


def save_between(doses: Sequence[int], least: int = 4) -> int:
    """How many steps may lie between two checkpoints so that no checkpoint falls on a dose.

    A resumed loop yields the records of old steps before it restores the policy. With checkpoints between the
    doses, every dose before a checkpoint was looked at before it was written, and no dose is looked at in the
    wrong state.
    """
    wanted = [dose for dose in doses if dose > 0]
    return next(every for every in count(least) if all(dose % every for dose in wanted))
