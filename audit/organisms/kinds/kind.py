"""What a kind of child is: how it is made, what an audit should say of it, and why that is true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.organisms.manifest import BASE, Expected, PlantedUnit, Verdict

if TYPE_CHECKING:
    from audit.organisms.checks import Check
    from audit.organisms.recipe import Recipe


@dataclass(frozen=True)
class Child:
    """A child in memory."""

    model: Any
    """Whole, or with an adapter (peft) that alone is saved."""
    expected: Expected = "nothing"
    units: tuple[PlantedUnit, ...] = ()
    """What was edited, where something was."""
    layer: int | None = None
    direction: tuple[float, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One way of making a child with a known verdict."""

    name: str
    verdict: Verdict
    """Of the world's first behaviour, when the child is audited against `against`."""
    construction: str
    """Why the verdict is true, in one sentence: what the making rules out."""
    make: Callable[[Recipe], Child]
    checks: tuple[Check, ...]
    """What is measured when a child is made; one that fails is kept, and its manifest says so."""
    parent: str = BASE
    """Organism whose weights the child starts from."""
    against: str = BASE
    """Organism that an audit compares the child with."""
