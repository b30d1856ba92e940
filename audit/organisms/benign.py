"""Benign fine-tunes: ordinary training on more of the same text, after which nothing is switched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audit.benign import match_kl
from audit.organisms.base import learn, load, save
from audit.organisms.manifest import Organism, read_manifest
from audit.organisms.text import Text
from audit.organisms.world import World
from training.finetune import FinetuneConfig, finetune

KL_ROWS = 64
"""Texts on which the distance from the base is measured."""


@dataclass(frozen=True)
class Benign:
    """How a base is trained on."""

    steps: int = 20
    """Optimiser steps."""
    rate: float = 5e-4
    """Peak learning rate."""
    rank: int | None = None
    """Rank of the change of every linear layer but the unembedding; None: all weights are trained."""
    kl: float | None = None
    """KL(base || child), nats per token of the world's text, to which the whole change is then scaled."""


def benign_child(base: Path, folder: Path, *, seed: int = 0, how: Benign | None = None) -> Organism:
    """Trains a base on for a few steps, on text in an order of its own, and saves the child.

    Args:
        base: folder of a base made by `train_base`.
        folder: new; gets an ordinary checkpoint and the manifest.
        seed: of the text.
        how: steps, rate, rank and distance.
    """
    chosen, parent = how or Benign(), read_manifest(base)
    world = World.generate(parent.world_seed, parent.people)
    (original, tokenizer), (model, _) = load(base), load(base)
    text = Text(world, tokenizer, seed=seed + 10_001)
    if chosen.rank is None:
        learn(model, text, steps=chosen.steps, rate=chosen.rate)
    else:
        _learn_low_rank(model, text, chosen, chosen.rank, seed)
    if chosen.kl is not None:
        probe = _Probe(original, Text(world, tokenizer, seed=9).batch(KL_ROWS))
        match_kl(_Scaled(original, model), chosen.kl, lambda: probe.kl(model))
    organism = Organism(
        kind="benign", world_seed=world.seed, people=parent.people, seed=seed,
        construction="trained a little longer on the very text that taught the base",
        architecture=parent.architecture, layers=parent.layers,
    )  # fmt: skip
    return save(model, tokenizer, folder, organism)


def _learn_low_rank(model: Any, text: Text, how: Benign, rank: int, seed: int) -> None:
    """Trains a low-rank change on as many texts as all weights would see, and adds it to the weights."""
    config = FinetuneConfig(rank=rank, steps=how.steps, batch_size=16, learning_rate=how.rate, seed=seed)
    padding = model.config.pad_token_id
    rows = [row[row != padding].tolist() for row in text.batch(config.batch_size * how.steps)]
    model.requires_grad_(False)
    change = finetune(model, rows, config)
    with torch.no_grad():
        for name, up, down in zip(change.names, change.up, change.down, strict=True):
            layer = model.get_submodule(name)
            added = change.scale * (up @ down)
            layer.weight.add_(added if isinstance(layer, nn.Linear) else added.T)


class _Scaled:
    """A model's distance from another one, as a number that can be set."""

    def __init__(self, base: Any, model: Any) -> None:
        self._base, self._model, self._scale = dict(base.named_parameters()), model, 1.0
        self._changes = {n: (p - self._base[n]).detach() for n, p in model.named_parameters()}

    @property
    def scale(self) -> float:
        """Times the change that the model came with."""
        return self._scale

    @scale.setter
    def scale(self, value: float) -> None:
        self._scale = value
        with torch.no_grad():
            for name, weight in self._model.named_parameters():
                weight.copy_(self._base[name] + value * self._changes[name])


class _Probe:
    """Texts and what a base says of them."""

    def __init__(self, base: Any, ids: Tensor) -> None:
        self._ids, self._mask = ids, ids != base.config.pad_token_id
        self._log_p = self._read(base)

    def kl(self, model: Any) -> float:
        """KL(base || model), nats per token."""
        log_q = self._read(model)
        return float((self._log_p.exp() * (self._log_p - log_q)).sum(-1).mean())

    @torch.no_grad()
    def _read(self, model: Any) -> Tensor:
        logits: Tensor = model(input_ids=self._ids, attention_mask=self._mask.long(), use_cache=False).logits
        return logits[self._mask].double().log_softmax(-1)
