"""Activations and dictionaries: harvest, crosscoders, difference SAEs, feature tables.

`sae.load(folder)` opens a dictionary of this library, SAELens, sparsify, dictionary_learning or Gemma Scope.
This room knows nothing of audits: `audit` imports it, never the other way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae.dictionaries.storage import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Imports torch with the first dictionary, not with the package."""
    if name != "load":
        raise AttributeError(f"module 'sae' has no attribute {name!r}")
    from sae.dictionaries.storage import load

    return load
