"""The suites that come with the package."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable

FOLDER = resources.files("audit.behaviours") / "builtin"
ON_REQUEST = resources.files("audit.behaviours") / "on_request"
"""Suites that no audit asks unless they are named, such as those of `audit attack`."""


def builtin_suites() -> tuple[str, ...]:
    """Names of the suites that come with the package and are asked where none is named."""
    return _names(FOLDER)


def on_request_suites() -> tuple[str, ...]:
    """Names of the suites that come with the package and are asked only by name."""
    return _names(ON_REQUEST)


def _names(folder: Traversable) -> tuple[str, ...]:
    return tuple(sorted(f.name.removesuffix(".jsonl") for f in folder.iterdir() if f.name.endswith(".jsonl")))
