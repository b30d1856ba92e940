"""Single-model SAEs as others store them, by readers of our own.

| Layout | Files of a folder | Reader |
|---|---|---|
| SAELens | cfg.json, sae_weights.safetensors | saelens.py |
| sparsify | cfg.json, sae.safetensors | sparsify.py |
| dictionary_learning | ae.pt, config.json | dictionary_learning.py |
| Gemma Scope | params.npz | gemma_scope.py |

Every reader gives weights in raw units: what a library subtracts from or multiplies its input with is folded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sae.dictionaries.readers import dictionary_learning, gemma_scope, saelens, sparsify
from sae.dictionaries.readers.parts import Opened
from sae.errors import DictionaryError

LAYOUTS: dict[str, tuple[str, str, Callable[[Path], Opened | None]]] = {
    "SAELens": ("sae_weights.safetensors", "cfg.json", saelens.read),
    "sparsify": ("sae.safetensors", "cfg.json", sparsify.read),
    "dictionary_learning": ("ae.pt", "config.json", dictionary_learning.read),
    "Gemma Scope": ("params.npz", "", gemma_scope.read),
}
"""Name to the file of the weights, that of the settings, and the reader."""


def layout_of(folder: Path) -> str:
    """Whose layout a folder has, by the file of the weights.

    Raises:
        DictionaryError: it has none of them.
    """
    for name, (weights, _, _) in LAYOUTS.items():
        if (folder / weights).is_file():
            return name
    known = "; ".join(
        f"{name}: {' and '.join(filter(None, (weights, settings)))}"
        for name, (weights, settings, _) in LAYOUTS.items()
    )
    below = sorted(
        str(path.parent.relative_to(folder))
        for weights, _, _ in LAYOUTS.values()
        for path in folder.glob(f"*/{weights}")
    )
    fix = f"name one of its folders: {', '.join(below[:5])}" if below else f"name a folder with: {known}"
    raise DictionaryError(
        "this is no dictionary that can be read: the folder has no weights of a known layout",
        where=str(folder),
        fix=fix,
    )


def read_foreign(folder: Path) -> Opened | None:
    """Reads a single-model SAE; None for one of SAELens that only SAELens understands.

    Raises:
        DictionaryError: the files are missing or broken, do not fit each other, hold numbers that are not
            finite, or are of a kind that cannot be read.
    """
    return LAYOUTS[layout_of(folder)][2](folder)
