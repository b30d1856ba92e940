"""How much work an audit does, in three sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PresetName = Literal["quick", "standard", "deep"]


@dataclass(frozen=True)
class Preset:
    """How much work an audit does: fixed counts, never wall-clock time, so that a resumed run is the same."""

    drift_sequences: int
    """Sequences sampled from each model for the drift."""
    drift_tokens: int
    """Tokens sampled per sequence."""
    draws: int
    """Bootstrap and permutation draws."""
    corpus_tokens: int
    """Tokens harvested from each model for the dictionaries."""
    hook_points: int
    """Residual streams that get a dictionary, spread evenly over the depth."""
    latents: int
    """Latents of each dictionary."""
    active_latents: int
    """Latents active per token on average: the k of BatchTopK."""
    dictionary_steps: int
    """Optimiser steps of each dictionary."""
    dictionary_seeds: int
    """Dictionaries trained per hook point, for the recurrence of features."""
    benign_nulls: int
    """Benign fine-tunes of the base that the features are held against."""
    held_items: int | None
    """Held-out items on which interventions are run, of all entities in turn; None: all."""
    random_sets: int
    """Matched random sets that each intervention is held against."""
    search_units: int
    """Largest set of units that the search for a switch may return."""
    gate_steps: int
    """Steps in which sparse gates are learned for each behaviour; 0: none are."""
    relearn_steps: tuple[int, ...]
    """Optimiser steps after which relearning is read; none: nothing is relearned."""
    relearn_controls: int
    """Trainings on classes that the model never had, which relearning is held against."""


PRESETS: dict[PresetName, Preset] = {
    "quick": Preset(
        drift_sequences=24,
        drift_tokens=24,
        draws=2000,
        corpus_tokens=10_000,
        hook_points=1,
        latents=1024,
        active_latents=32,
        dictionary_steps=200,
        dictionary_seeds=2,
        benign_nulls=1,
        held_items=72,
        random_sets=5,
        search_units=16,
        gate_steps=0,
        relearn_steps=(),
        relearn_controls=0,
    ),
    "standard": Preset(
        drift_sequences=128,
        drift_tokens=64,
        draws=4000,
        corpus_tokens=100_000,
        hook_points=1,
        latents=4096,
        active_latents=48,
        dictionary_steps=2000,
        dictionary_seeds=2,
        benign_nulls=2,
        held_items=None,
        random_sets=10,
        search_units=64,
        gate_steps=300,
        relearn_steps=(10, 20, 40),
        relearn_controls=2,
    ),
    "deep": Preset(
        drift_sequences=512,
        drift_tokens=128,
        draws=10_000,
        corpus_tokens=1_000_000,
        hook_points=3,
        latents=16_384,
        active_latents=64,
        dictionary_steps=10_000,
        dictionary_seeds=3,
        benign_nulls=5,
        held_items=None,
        random_sets=20,
        search_units=256,
        gate_steps=600,
        relearn_steps=(10, 20, 40),
        relearn_controls=4,
    ),
}
"""The three sizes of an audit."""
