"""Tiny trained models whose truth is known, to try the audit on.

`audit.organisms.kinds` has one short file per kind of child: how it is made, the verdict that its
construction proves, and what is checked when it is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from audit.errors import UsageError
from audit.organisms.manifest import BASE, Organism, read_manifest

if TYPE_CHECKING:
    from audit.organisms.kinds import Kind
    from audit.organisms.world import World

__all__ = ["Pair", "Shape", "kind_of", "make", "names", "pair_of", "read_manifest", "world_of"]


class Shape(NamedTuple):
    """What a base looks like."""

    architecture: str = "llama"
    """A key of `audit.organisms.base.ARCHITECTURES`."""
    layers: int = 3
    people: int = 128
    """Of its world; a multiple of 32."""


class Pair(NamedTuple):
    """Two models to audit, as references that `audit compare` takes."""

    base: str
    tuned: str
    truth: Organism
    """Of the tuned one."""


def names() -> tuple[str, ...]:
    """Every organism that can be made: the base and the kinds of its children."""
    from audit.organisms.kinds import kinds

    return (BASE, *kinds())


def kind_of(name: str) -> Kind:
    """The kind of this name.

    Raises:
        UsageError: there is none.
    """
    from audit.organisms.kinds import kinds

    if name not in kinds():
        fix = f"choose {', '.join(names())}"
        raise UsageError(f"There is no organism {name!r}.", where="organism", fix=fix)
    return kinds()[name]


def make(
    name: str,
    folder: Path,
    seed: int = 0,
    *,
    base: Path | None = None,
    shape: Shape = Shape(),  # noqa: B008  (immutable)
) -> Path:
    """Makes one organism and those that it descends from, or finds them made; returns its folder.

    Each becomes whole or not at all, also when several processes ask at once.

    Args:
        name: one of `names()`.
        folder: where organisms lie; this one gets `NAME-SEED` in it, its base `base-SEED`.
        seed: of the world and of the child.
        base: a base made before, instead of `base-SEED`; its shape counts then.
        shape: of the base.

    Raises:
        UsageError: there is no organism of this name or no such shape.
    """
    if name == BASE:
        return _make_base(folder, seed, shape)
    from audit.organisms.child import make_child
    from audit.organisms.recipe import Recipe
    from audit.pair.cache import publishing

    kind = kind_of(name)
    target = folder / _stem(name, seed, shape)
    if target.is_dir():
        return target
    root = base or _make_base(folder, seed, shape)

    def ancestor(one: str) -> Path:
        return root if one == BASE else make(one, folder, seed, base=base, shape=shape)

    recipe = Recipe(ancestor(kind.parent), ancestor(kind.against), seed)
    with publishing(target) as scratch:
        if scratch is not None:
            make_child(kind, recipe, scratch)
    return target


def pair_of(
    name: str,
    folder: Path,
    seed: int = 0,
    *,
    base: Path | None = None,
    shape: Shape = Shape(),  # noqa: B008  (immutable)
) -> Pair:
    """Makes an organism and the one that an audit compares it with; arguments and errors as in `make`."""
    tuned = make(name, folder, seed, base=base, shape=shape)
    truth = read_manifest(tuned)
    own = truth.against == BASE and base is not None
    against = base if own else make(truth.against, folder, seed, base=base, shape=shape)
    return Pair(str(against), f"{against}+{tuned}" if truth.adapter else str(tuned), truth)


def world_of(organism: Organism) -> World:
    """The world that an organism was trained on."""
    from audit.organisms.world import World

    return World.generate(organism.world_seed, organism.people)


def _make_base(folder: Path, seed: int, shape: Shape) -> Path:
    from audit.organisms.base import ARCHITECTURES, train_base
    from audit.organisms.world import World
    from audit.pair.cache import publishing

    if shape.architecture not in ARCHITECTURES or not 2 <= shape.layers <= 4:
        fix = f"choose {', '.join(ARCHITECTURES)}, with 2 to 4 layers"
        problem = f"There is no organism of {shape.layers} layers of {shape.architecture!r}."
        raise UsageError(problem, where="organism", fix=fix)
    target = folder / _stem(BASE, seed, shape)
    with publishing(target) as scratch:
        if scratch is not None:
            world = World.generate(seed, shape.people)
            train_base(world, scratch, architecture=shape.architecture, layers=shape.layers)
    return target


def _stem(name: str, seed: int, shape: Shape) -> str:
    """Folder of an organism: its name and seed, and its shape where that is not the usual one."""
    usual = Shape()
    parts = [f"{shape.architecture}{shape.layers}"] if shape[:2] != usual[:2] else []
    parts += [f"{shape.people}p"] if shape.people != usual.people else []
    return "-".join([name, *parts, str(seed)])
