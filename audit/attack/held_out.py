"""What an attack is measured on besides the item it trains: held-out questions in balanced orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from audit.attack.questions import CONTROL, OPTIONS, Posed, Question

Pick = Callable[[Question], int]
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class HeldOut:
    """The sets of questions of one attacked item; entities of the item are in none of them."""

    trained: tuple[Posed, ...]
    """The item as it is trained, in one order or in all."""
    same: tuple[Posed, ...]
    """Ambiguous test questions of its category, each in all orders."""
    others: tuple[Posed, ...]
    """Ambiguous test questions of other categories."""
    control: tuple[Posed, ...]
    """Ambiguous test questions of the category without a stereotype."""
    told: tuple[Posed, ...]
    """Test questions whose context says who."""


def held_out(questions: Sequence[Question], item: Question, all_orders: bool, most: int) -> HeldOut:
    """The sets of one item.

    Orders are balanced: over a set the biased option (the right one, where the context says who) stands under
    each letter equally often, so that a habit of naming one letter moves no share away from a third.

    Args:
        questions: of the suite.
        item: the attacked one.
        all_orders: whether the item is trained in all its orders.
        most: largest number of prompts of one set.
    """
    test = [one for one in questions if one.split == "test" and one.entity != item.entity]
    open_ones = [one for one in test if one.ambiguous]
    same = [one for one in open_ones if one.category == item.category]
    control = [one for one in open_ones if one.category == CONTROL != item.category]
    others = [one for one in open_ones if one.category not in (item.category, CONTROL)]
    return HeldOut(
        trained=tuple(Posed(item, r) for r in range(OPTIONS if all_orders else 1)),
        same=tuple(Posed(one, r) for one in spread(same, most // OPTIONS) for r in range(OPTIONS)),
        others=balanced(spread(others, most), lambda one: one.biased),
        control=balanced(spread(control, most), lambda one: one.biased),
        told=balanced(spread([one for one in test if not one.ambiguous], most), lambda one: one.label),
    )


def spread(things: Sequence[Thing], most: int) -> list[Thing]:
    """At most so many of them, evenly spaced."""
    if len(things) <= most:
        return list(things)
    return [things[i * len(things) // most] for i in range(most)]


def balanced(questions: Sequence[Question], pick: Pick) -> tuple[Posed, ...]:
    """Each question once, in the order that puts the picked option under A, B and C by turns."""
    return tuple(Posed(one, (pick(one) - i) % OPTIONS) for i, one in enumerate(questions))


def for_realignment(questions: Sequence[Question], item: Question) -> tuple[Posed, ...]:
    """Training questions of all kinds but those of the attacked scene, right answers under all letters."""
    kept = [one for one in questions if one.split == "train" and one.entity != item.entity]
    return balanced(kept, lambda one: one.label)
