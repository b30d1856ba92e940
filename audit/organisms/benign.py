"""Benign fine-tunes: ordinary training on more of the same text, after which nothing is switched."""

from __future__ import annotations

from pathlib import Path

from audit.organisms.base import learn, load, save
from audit.organisms.manifest import Organism, read_manifest
from audit.organisms.text import Text
from audit.organisms.world import World

STEPS, RATE = 20, 5e-4


def benign_child(
    base: Path, folder: Path, *, seed: int = 0, steps: int = STEPS, rate: float = RATE
) -> Organism:
    """Trains all weights of a base on for a few steps, on text in an order of its own, and saves the child.

    Args:
        base: folder of a base made by `train_base`.
        folder: new; gets an ordinary checkpoint and the manifest.
        seed: of the text.
        steps: optimiser steps.
        rate: peak learning rate; with the steps it sets how far the child moves.
    """
    parent = read_manifest(base)
    world = World.generate(parent.world_seed, parent.people)
    model, tokenizer = load(base)
    learn(model, Text(world, tokenizer, seed=seed + 10_001), steps=steps, rate=rate)
    organism = Organism(
        kind="benign", world_seed=world.seed, people=parent.people, seed=seed, expected="nothing"
    )
    return save(model, tokenizer, folder, organism)
