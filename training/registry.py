"""Methods by name. A file in `training/objectives/` or `training/advantages/` is all that a new one needs."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Generic, TypeVar

from training.errors import TrainingError
from training.types import Advantage, MethodCard, Objective

T = TypeVar("T")
C = TypeVar("C")


class Registry(Generic[T]):
    """Classes of one kind by name; the files of their package are read when a name is first asked for."""

    def __init__(self, kind: str, package: str) -> None:
        """An empty registry.

        Args:
            kind: what a user calls its members.
            package: whose modules register themselves when imported.
        """
        self.kind, self.package = kind, package
        self._found: dict[str, Any] = {}
        self._aliases: set[str] = set()
        self._read = False

    def add(self, name: str, member: type[C], aliases: tuple[str, ...] = ()) -> type[C]:
        """Registers a class under its name and perhaps others, which `names` does not list.

        Raises:
            ValueError: another class has the name: acronyms collide, so names must not.
        """
        for known in (name, *aliases):
            taken = self._found.get(known)
            if taken is not None and taken.__qualname__ != member.__qualname__:
                raise ValueError(f"two {self.kind}s are called {known!r}: {taken!r} and {member!r}")
            self._found[known] = member
        self._aliases |= set(aliases)
        return member

    def names(self) -> tuple[str, ...]:
        """All names, in the order of the alphabet."""
        return tuple(sorted(set(self._all()) - self._aliases))

    def find(self, name: str) -> Any:
        """The class of a name; hyphens stand for underscores.

        Raises:
            TrainingError: nothing has the name; the message suggests the nearest.
        """
        key = name.strip().lower().replace("-", "_")
        if key in self._all():
            return self._found[key]
        near = difflib.get_close_matches(key, self.names(), n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise TrainingError(
            f"there is no {self.kind} called {name!r}",
            where=self.kind,
            fix=f"{meant}choose among: {', '.join(self.names())}",
        )

    def make(self, name: str, settings: Mapping[str, Any] | None = None) -> T:
        """An instance of a name with its own settings.

        Raises:
            TrainingError: the name, or a setting, does not exist.
        """
        found, given = self.find(name), dict(settings or {})
        known = {f.name: f.default for f in fields(found)} if is_dataclass(found) else {}
        if unknown := [key for key in given if key not in known]:
            raise TrainingError(
                f"{self.kind} {name!r} has no setting {unknown[0]!r}",
                where=unknown[0],
                fix=f"it has: {', '.join(map(_described, known.items())) or 'none'}",
            )
        made: T = found(**given)
        return made

    def _all(self) -> dict[str, Any]:
        if not self._read:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._read = True
        return self._found


def _described(setting: tuple[str, Any]) -> str:
    name, default = setting
    return name if default is MISSING else f"{name} (default {default})"


OBJECTIVES: Registry[Objective] = Registry("method", "training.objectives")
"""Objectives by the name on their cards."""
ADVANTAGES: Registry[Advantage] = Registry("advantage", "training.advantages")
"""Advantages by name."""


def objective(found: type[C]) -> type[C]:
    """Class decorator: registers an objective under its card's name."""
    card: MethodCard = found.card  # type: ignore[attr-defined]  # the protocol's; a bare class says nothing of it
    return OBJECTIVES.add(card.name, found, card.aliases)


def advantage(found: type[C]) -> type[C]:
    """Class decorator: registers an advantage under its name."""
    return ADVANTAGES.add(found.name, found)  # type: ignore[attr-defined]  # likewise
