"""A base and what training made of it, with a manifest by which an audit finds both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from training.errors import TrainingError
from training.lora import save_adapter
from training.model import CausalLM

MANIFEST = "pair.json"
FORMAT = 1
Kind = Literal["adapter", "model"]


@dataclass(frozen=True)
class Pair:
    """One base model and its child."""

    base: str
    """How the base was named: hub id, path or a name of the tool."""
    base_identity: str
    """Digest of the base's weights and tokenizer, so that another base is not taken for it."""
    kind: Kind
    """Whether the child is an adapter on the base or a whole model."""
    after: str
    """The child's folder, relative to the manifest."""
    method: str
    """What trained it."""
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each of the child's files."""


def save_child(
    model: CausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path, *, base_name: str
) -> tuple[Kind, Path]:
    """Writes the trained adapter, or the whole model with its tokenizer, below a folder.

    Args:
        model: after training.
        tokenizer: the model's.
        folder: gets `adapter/` or `model/`.
        base_name: what an adapter's config calls its base; a hub id or a name, never a local path.
    """
    if isinstance(model, PeftModel):
        save_adapter(model, folder / "adapter", base_name=base_name)
        return "adapter", folder / "adapter"
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return "model", folder / "model"


def write_pair(folder: Path, pair: Pair) -> Path:
    """Writes the manifest, with the hashes of the child's files as they are now."""
    child = folder / pair.after
    files = {
        path.relative_to(child).as_posix(): _sha256(path)
        for path in sorted(child.rglob("*"))
        if path.is_file()
    }
    path = folder / MANIFEST
    values = {"format": FORMAT, **asdict(pair), "files": files}
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_pair(folder: Path) -> Pair:
    """The pair of a folder, its child's files unchanged since.

    Raises:
        TrainingError: there is no manifest, it is broken or of another format, or a file was changed.
    """
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError("another format")
        pair = Pair(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"the pair's manifest cannot be read: {error}", where=str(path), fix="train the pair again"
        ) from error
    for name, sha256 in pair.files.items():
        found = folder / pair.after / name
        if not found.is_file() or _sha256(found) != sha256:
            raise TrainingError(
                "a file of the trained model is missing or was changed",
                where=str(found),
                fix="train it again",
            )
    return pair


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
