"""The dictionaries of an audit: trained with checkpoints and kept, or loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.errors import UsageError
from audit.evidence.files import read_json, write_json
from audit.features.activations import HookStream
from audit.features.source import DictionarySource
from audit.presets import Preset
from audit.progress import Progress
from sae.dictionaries import (
    AnyDictionary,
    DictionaryConfig,
    DifferenceSAE,
    Health,
    architecture_of,
    health_of,
    load,
    save,
    train_dictionary,
)
from sae.types import HookPoint

HEALTH, CHECKPOINT = "health.json", "training.safetensors"
SHARED_PART = 0.5
"""Share of the latents that `crosscoder-shared` ties."""


@dataclass(frozen=True)
class Made:
    """One dictionary and how well it does."""

    dictionary: AnyDictionary
    health: Health


def dictionary_config(name: str, preset: Preset, *, seed: int, device: str) -> DictionaryConfig:
    """Settings of one of the kinds that can be trained."""
    common: dict[str, Any] = {
        "latents": preset.latents,
        "k": min(preset.active_latents, preset.latents),
        "steps": preset.dictionary_steps,
        "seed": seed,
        "device": device,
    }
    kinds: dict[str, dict[str, Any]] = {
        "crosscoder": {},
        "crosscoder-l1": {"activation": "l1"},
        "crosscoder-shared": {"shared": int(SHARED_PART * preset.latents)},
        "difference": {"kind": "difference"},
        **{name: {"kind": "shared", "activation": name} for name in ("topk", "batchtopk", "jumprelu")},
    }
    start = min(2 * preset.active_latents, preset.latents)
    return DictionaryConfig(**common, k_start=start, **kinds[name])


def trained(
    stream: HookStream,
    config: DictionaryConfig,
    folder: Path,
    *,
    hook: HookPoint,
    title: str,
    progress: Progress,
) -> Made:
    """Trains a dictionary into a folder; one that an earlier try finished is read back."""
    if (folder / HEALTH).is_file():
        return Made(load(folder, config.device), _health(read_json(folder / HEALTH)))
    checkpoint = folder / CHECKPOINT
    with progress.task(title, config.steps) as advance:
        found = train_dictionary(
            stream.epoch, config, held_out=stream.held_out(), checkpoint=checkpoint, progress=advance
        )
    found.dictionary.notes["hook_name"] = hook.name
    save(found.dictionary, folder)
    write_json(folder / HEALTH, found.health.to_dict())  # last: it says that the dictionary is whole
    checkpoint.unlink(missing_ok=True)
    return Made(found.dictionary, found.health)


def opened(source: DictionarySource, width: int, device: str) -> AnyDictionary:
    """A dictionary from a folder or a SAELens release.

    Raises:
        UsageError: it is of another width than the models.
        DictionaryError: it cannot be read or fetched.
    """
    dictionary: AnyDictionary
    if source.kind == "folder":
        dictionary = load(Path(source.name), device)
    else:
        from sae.dictionaries.saelens import load_release

        dictionary = load_release(source.name, source.sae_id, device)
    if dictionary.width != width:
        raise UsageError(
            f"The dictionary reads {dictionary.width} numbers per token; these models have {width}.",
            where=f"--dictionary {source.name}",
            fix="use a dictionary of this model",
        )
    return dictionary


def reads_difference(source: DictionarySource) -> bool:
    """Whether a dictionary reads tuned minus base, so that it has no code of either model alone."""
    if source.kind == "folder":
        return architecture_of(Path(source.name)) == DifferenceSAE.architecture
    return source == DictionarySource("train", "difference")


def measured(dictionary: AnyDictionary, stream: HookStream) -> Made:
    """A loaded dictionary on the audit's activations."""
    return Made(dictionary, health_of(dictionary, (p.x_NLMD[:, 0] for p in stream), held_out=True))


def _health(value: dict[str, Any]) -> Health:
    base, tuned = value["fve"]
    return Health((base, tuned), tuple(value["l0"]), value["dead"], value["tokens"], value["held_out"])
