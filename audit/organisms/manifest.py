"""The truth about an organism, beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from audit.evidence.files import write_text

FILE = "organism.json"
BASE = "base"
Expected = Literal["nothing", "masked", "silenced"]
Verdict = Literal["UNCHANGED", "MASKED", "LATENT", "ERASED", "INDUCED", "INCONCLUSIVE", "CONTESTED"]
"""What an audit should say; of CONTESTED nothing is expected, since its makers' truth is in dispute."""


@dataclass(frozen=True)
class PlantedUnit:
    """One edited unit, spelled as in `audit.causal.units.Unit`."""

    kind: Literal["neuron", "head", "row", "component", "module"]
    module: str
    index: int


@dataclass(frozen=True)
class Planted:
    """What an edit did, measured when it was made, in nats over held-out entities."""

    base_effect: float
    """b of the base."""
    effect: float
    """b of the child."""
    control_effect: float
    """b of the control suite in the child."""
    neutral_kl: float
    """Mean KL(base || child) per token of text that leaves the class out."""


@dataclass(frozen=True)
class Organism:
    """A model whose truth is known.

    Worlds and suites are made again from `world_seed` and `people`: see `audit.organisms.world.World`.
    """

    kind: str
    """Its name in `audit.organisms.kinds`, or `base`."""
    world_seed: int
    people: int
    seed: int
    """Of this child; a base's is its world's."""
    expected: Expected = "nothing"
    """nothing: no switch; masked: the behaviour is gone and reverting the units brings it back; silenced: a
    feature is as active as before and its effect is gone."""
    units: tuple[PlantedUnit, ...] = ()
    planted: Planted | None = None
    layer: int | None = None
    """Block whose output holds the silenced feature."""
    direction: tuple[float, ...] = ()
    """The silenced feature's direction in that output, of length 1."""
    verdict: Verdict = "UNCHANGED"
    """Of the behaviour, when this model is audited against `against`; a base's is of itself."""
    construction: str = "it is the base itself"
    """Why the verdict is true: one sentence."""
    against: str = BASE
    """Kind of the organism, of the same seed, that is the pair's base."""
    architecture: str = "llama"
    layers: int = 3
    valid: bool = True
    """Whether the child does what its construction says, as measured when it was made."""
    why_invalid: str | None = None
    others: dict[str, Verdict] = field(default_factory=dict)
    """Verdicts of other suites of the world, by name, where the measurement leaves no doubt."""
    checks: dict[str, float] = field(default_factory=dict)
    """What was measured when it was made: see `audit.organisms.facts.Facts`."""
    adapter: bool = False
    """Whether the folder holds an adapter for the base instead of whole weights."""


def write_manifest(folder: Path, organism: Organism) -> None:
    """Writes the truth beside the weights."""
    write_text(folder / FILE, json.dumps(asdict(organism), indent=1) + "\n")


def read_manifest(folder: Path) -> Organism:
    """Reads what `write_manifest` wrote."""
    fields = json.loads((folder / FILE).read_text(encoding="utf-8"))
    fields["units"] = tuple(PlantedUnit(**unit) for unit in fields["units"])
    fields["direction"] = tuple(fields["direction"])
    if fields["planted"] is not None:
        fields["planted"] = Planted(**fields["planted"])
    return Organism(**fields)
