"""From a kind to a folder: the child is made, measured, checked, and saved with its truth."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from audit.organisms.base import load, save
from audit.organisms.checks import GONE, STILL
from audit.organisms.facts import Facts, measure
from audit.organisms.kinds.kind import Child, Kind
from audit.organisms.manifest import Organism, Planted, Verdict, write_manifest
from audit.organisms.recipe import Recipe


def make_child(kind: Kind, recipe: Recipe, folder: Path) -> Organism:
    """Makes one child of a kind and saves it; a child that fails a check is saved, too, and says so.

    Args:
        kind: how.
        recipe: of what.
        folder: new; gets an ordinary checkpoint, or an adapter, and the manifest.
    """
    child = kind.make(recipe)
    facts = measure(recipe, load(recipe.against)[0], child)
    organism = _truth(kind, recipe, child, facts)
    if organism.adapter:
        _save_adapter(child.model, folder, organism)
        return organism
    return save(child.model, recipe.tokenizer, folder, organism)


def _truth(kind: Kind, recipe: Recipe, child: Child, facts: Facts) -> Organism:
    wrong = [found for check in kind.checks if (found := check(facts)) is not None]
    world, parent = recipe.world, recipe.truth
    return Organism(
        kind=kind.name, world_seed=world.seed, people=len(world.people), seed=recipe.seed,
        expected=child.expected, units=child.units, planted=_planted(child, facts),
        layer=child.layer, direction=child.direction, verdict=kind.verdict, construction=kind.construction,
        against=kind.against, architecture=parent.architecture, layers=parent.layers,
        valid=not wrong, why_invalid="; ".join(wrong) or None, others=_others(kind, facts),
        checks={name: value for name, value in asdict(facts).items() if value is not None},
        adapter=hasattr(child.model, "peft_config"),
    )  # fmt: skip


def _planted(child: Child, facts: Facts) -> Planted | None:
    if child.expected == "nothing":
        return None
    return Planted(facts.base_effect, facts.effect, facts.control_effect, facts.drift)


def _others(kind: Kind, facts: Facts) -> dict[str, Verdict]:
    """Verdicts of the world's other suites: what did not move, and what went with the class."""
    found: dict[str, Verdict] = {}
    if abs(facts.control_effect - facts.control_base) <= STILL:
        found["organism-control"] = "UNCHANGED"
    if abs(facts.second_effect - facts.second_base) <= STILL:
        found["organism-second"] = "UNCHANGED"
    elif kind.verdict == "ERASED" and facts.second_lost >= GONE:
        found["organism-second"] = "ERASED"
    return found


def _save_adapter(model: Any, folder: Path, organism: Organism) -> None:
    from training.lora import save_adapter

    save_adapter(model, folder, base_name="organism")
    write_manifest(folder, organism)
