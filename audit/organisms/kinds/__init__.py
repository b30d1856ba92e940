"""The kinds of child, one short file each: whatever module here has `KINDS` adds them to the registry."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from audit.organisms.kinds.kind import Kind

__all__ = ["Kind", "kinds"]


@cache
def kinds() -> dict[str, Kind]:
    """Every kind by name, sorted.

    Raises:
        ValueError: two files give one name.
    """
    files = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    listed = [kind for file in files for kind in getattr(file, "KINDS", ())]
    named = {kind.name: kind for kind in sorted(listed, key=lambda kind: kind.name)}
    if len(named) != len(listed):
        raise ValueError("two kinds of organism have one name")
    return named
