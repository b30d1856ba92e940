"""Nulls of the feature table: dictionaries of (base, benign fine-tune), each with its own order and seed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from audit.benign import Benign, benign_fine_tune, settings_for
from audit.evidence.schema.results import BenignNull
from audit.features.activations import HookStream, Reading, harvested
from audit.features.dictionaries import dictionary_config, measured, trained
from audit.inputs import AuditInputs
from sae.dictionaries import AnyDictionary
from sae.features import NullSample, latent_scaling, latent_statistics, live
from sae.harvest import shuffled_order
from sae.types import HookPoint
from training.errors import TrainingError

FIRST_SEED = 7919
"""Seeds of the nulls start here, away from those of the dictionaries."""


@dataclass(frozen=True)
class Nulls:
    """What the nulls gave."""

    samples: dict[int, NullSample]
    """Block -> scores of the null latents at its output, pooled."""
    facts: list[BenignNull]
    missing: list[str]
    """Sentences: which null could not be made, and why."""


def make_nulls(audit: AuditInputs, reading: Reading, given: AnyDictionary | None, parts: Path) -> Nulls:
    """Makes as many nulls as the preset asks for; finished ones are read back.

    A dictionary that was loaded and reads both models together is of that pair only: no null can be made
    with it. A single-model SAE is read on the null pair as it stands. `given` is the loaded one, if so.
    """
    nulls = Nulls({}, [], [])
    if given is not None and given.joint:
        nulls.missing.append(
            "The loaded dictionary was trained on this pair: read on a benign pair it would give no null."
        )
        return nulls
    for number in range(audit.preset.benign_nulls):
        seed = FIRST_SEED + audit.config.seed + number
        folder = parts / f"null-{number}"
        try:
            benign = _fine_tuned(audit, reading, seed, folder)
        except TrainingError as error:
            nulls.missing.append(f"No benign fine-tune of the base could be made: {error.problem}.")
            break
        if benign is None:
            nulls.missing.append(
                "Base and tuned model make the same predictions: there is no distance that a benign"
                " fine-tune could match."
            )
            break
        for layer, sample in _samples(audit, reading, given, benign, folder).items():
            nulls.samples[layer] = nulls.samples[layer] + sample if layer in nulls.samples else sample
        nulls.facts.append(benign.facts)
    return nulls


def _fine_tuned(audit: AuditInputs, reading: Reading, seed: int, folder: Path) -> Benign | None:
    config = settings_for(audit, seed)
    with audit.progress.task("Fine-tuning a benign null", config.steps) as advance:
        return benign_fine_tune(
            audit.pair,
            reading.documents,
            config,
            vocabulary=audit.preflight.shared_vocabulary,
            folder=folder,
            layers=reading.layers,
            batch_size=audit.config.batch_size,
            progress=advance,
        )


def _samples(
    audit: AuditInputs, reading: Reading, given: AnyDictionary | None, benign: Benign, folder: Path
) -> dict[int, NullSample]:
    paths = {layer: folder / f"sample-{layer}.safetensors" for layer in reading.layers}
    store = folder / "activations"
    if not all(path.is_file() for path in paths.values()):
        _measure(audit, reading, given, benign, paths)
    shutil.rmtree(store, ignore_errors=True)
    return {layer: NullSample(**load_file(path)) for layer, path in paths.items()}


def _measure(
    audit: AuditInputs,
    reading: Reading,
    given: AnyDictionary | None,
    benign: Benign,
    paths: dict[int, Path],
) -> None:
    """Harvest of (base, null), a dictionary of it with the null's seed, and the scores of its latents."""
    seed, folder = benign.facts.seed, next(iter(paths.values())).parent
    order: Sequence[int] = shuffled_order(len(reading.documents), seed)
    store = harvested(
        benign.pair, reading, folder / "activations", {"seed": seed, "layers": list(reading.layers)},
        title="Reading the text with the null", progress=audit.progress, order=order,
    )  # fmt: skip
    for place, (layer, path) in enumerate(paths.items()):
        if path.is_file():
            continue
        stream, device = HookStream(store, place, seed), audit.config.device
        if given is None:
            config = dictionary_config(audit.config.dictionary, audit.preset, seed=seed, device=device)
            where = folder / f"dictionary-{layer}"
            hook = HookPoint(layer)
            title = f"Training the null's dictionary of {hook.name}"
            made = trained(stream, config, where, hook=hook, title=title, progress=audit.progress)
        else:
            made = measured(given, stream)
        statistics = latent_statistics(stream, made.dictionary, joint=made.dictionary.joint)
        sample = NullSample.of(statistics, latent_scaling(statistics), live(statistics))
        temporary = path.with_name(f".{path.name}.partial")
        save_file({name: value.contiguous() for name, value in sample._asdict().items()}, temporary)
        temporary.replace(path)
