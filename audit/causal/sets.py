"""The sets of units that a bypass tries, from the rows of the table `units`."""

from __future__ import annotations

from typing import NamedTuple, cast

import pandas as pd

from audit.causal.units import KINDS, Kind, Unit
from audit.evidence.schema.results import SwitchesResult

TOP = 16
"""Units per kind that are tried whatever the search for a switch said."""
RANKED: dict[Kind, str] = {"neuron": "neurons", "head": "heads", "row": "unembedding rows"}


class Named(NamedTuple):
    """A set of units under a name."""

    name: str
    description: str
    units: tuple[Unit, ...]


def named_sets(
    units: pd.DataFrame, behaviour: str, change: float, switches: SwitchesResult | None = None
) -> list[Named]:
    """The switch set, if one was found, and the neurons, heads and rows that pushed the behaviour most.

    The switch set is the one that the fit half gave, whether the held-out half bore it out or not: what is
    tried must not depend on the items that judge it.

    Args:
        units: rows of the table `units`.
        behaviour: suite whose candidates are wanted.
        change: b_tuned - b_base; only units whose attribution has its sign pushed that way.
        switches: result of the search, if there was one.
    """
    own = units[(units["behaviour"] == behaviour) & units["kind"].isin(KINDS)]
    found = _searched(switches, behaviour)
    sets = [Named("switch set", "the smallest set that the search found", found)]
    for kind, plural in RANKED.items():
        pushed = own[own["kind"] == kind].assign(
            push=lambda rows: rows["weight_attribution"] * (1 if change >= 0 else -1)
        )
        top = pushed[pushed["push"] > 0].sort_values("push", ascending=False, kind="stable").head(TOP)
        sets.append(Named(f"top {plural}", f"{len(top)} {plural} by weight attribution", _units(top)))
    return _distinct([s for s in sets if s.units])


def _searched(switches: SwitchesResult | None, behaviour: str) -> tuple[Unit, ...]:
    results = switches.behaviours if switches is not None else []
    found = next((result.set for result in results if result.name == behaviour), None)
    if found is None:
        return ()
    places = (text.rpartition(":") for text in found.units)
    return tuple(Unit(cast(Kind, found.kind), module, int(index)) for module, _, index in places)


def _units(rows: pd.DataFrame) -> tuple[Unit, ...]:
    cells = zip(rows["kind"], rows["module"], rows["index"], strict=True)
    return tuple(Unit(cast(Kind, str(kind)), str(module), int(index)) for kind, module, index in cells)


def _distinct(sets: list[Named]) -> list[Named]:
    """Without sets that hold the same units as an earlier one."""
    seen: dict[frozenset[Unit], Named] = {}
    for one in sets:
        seen.setdefault(frozenset(one.units), one)
    return list(seen.values())
