"""Tiny trained models whose truth is known, to try the audit on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from audit.errors import UsageError
from audit.organisms.manifest import Kind, Organism, read_manifest

if TYPE_CHECKING:
    from audit.organisms.world import World

__all__ = ["KINDS", "make", "read_manifest", "world_of"]

KINDS: tuple[Kind, ...] = get_args(Kind)


def make(name: str, folder: Path, seed: int = 0, *, base: Path | None = None) -> Path:
    """Makes one organism, or finds it made, and returns the folder of its checkpoint.

    Args:
        name: base, benign, neurons, head, rank1, rows or feature.
        folder: where organisms lie; this one gets `NAME-SEED` in it, its base `base-SEED`.
        seed: of the world and of the child.
        base: a base made before, instead of `base-SEED`.

    Raises:
        UsageError: there is no organism of this name.
    """
    if name not in KINDS:
        raise UsageError(
            f"There is no organism {name!r}.", where="organism", fix=f"choose {', '.join(KINDS)}"
        )
    target = folder / f"{name}-{seed}"
    if (target / "organism.json").exists():
        return target
    if name == "base":
        from audit.organisms.base import train_base
        from audit.organisms.world import World

        train_base(World.generate(seed), target)
        return target
    parent = base or make("base", folder, seed)
    if name == "benign":
        from audit.organisms.benign import benign_child

        benign_child(parent, target, seed=seed)
        return target
    from audit.organisms.plant import plant

    plant(name, parent, target, seed=seed)
    return target


def world_of(organism: Organism) -> World:
    """The world that an organism was trained on."""
    from audit.organisms.world import World

    return World.generate(organism.world_seed, organism.people)
