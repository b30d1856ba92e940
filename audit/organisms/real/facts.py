"""What is measured of a semi-real organism when it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from audit.measures.probes import Texts, fit_probe, subset
from audit.organisms.real.teach import taught_model
from audit.organisms.text import Questions
from audit.organisms.world import World
from sae.hooks import blocks_of, capture
from training.model import base_of

ROWS = 64
"""Questions that go through the model at once."""


@torch.no_grad()
def measure(adapter: Path, world: World) -> dict[str, float]:
    """Effect b of the behaviour and of the control, and how well the class is decodable: held-out people.

    `auc` is the largest over every fifth block, at the last token of the behaviour's questions.
    """
    model, tokenizer = taught_model(adapter, world.seed)
    model.eval()
    asked, control = (Questions.of(suite, tokenizer) for suite in (world.suite(), world.control()))
    return {
        "effect": _effect(asked, world, model),
        "control_effect": _effect(control, world, model),
        "auc": _auc(asked, world, base_of(model)),
    }


def parts(questions: Questions) -> list[Questions]:
    """The questions in pieces that fit into memory."""
    whole = range(0, len(questions.ids), ROWS)
    return [questions.take(torch.arange(i, min(i + ROWS, len(questions.ids)))) for i in whole]


def _held(questions: Questions, world: World) -> torch.Tensor:
    each = len(questions.ids) // len(world.people)
    return torch.tensor([p.split == "test" for p in world.people]).repeat_interleave(each)


def _effect(questions: Questions, world: World, model: Any) -> float:
    scores = torch.cat([part.scores(part.logits(model).float()) for part in parts(questions)])
    held = _held(questions, world)
    return float(scores[held & questions.high].mean() - scores[held & ~questions.high].mean())


def _auc(questions: Questions, world: World, model: Any) -> float:
    layers = range(0, len(blocks_of(model)), 5)
    states = torch.cat([_at_last(part, model, list(layers)) for part in parts(questions)], dim=1)
    entity = np.arange(len(questions.ids)) // (len(questions.ids) // len(world.people))
    is_a = np.array([p.hidden == 0 for p in world.people])
    split = np.array([p.split == "test" for p in world.people])
    found = []
    for state in states:
        texts = Texts(state.double().numpy(), entity, is_a)
        found.append(fit_probe(subset(texts, ~split), "lda").auc(subset(texts, split)))
    return max(found)


def _at_last(part: Questions, model: Any, layers: list[int]) -> torch.Tensor:
    mask = torch.arange(part.ids.shape[1]) <= part.last[:, None]
    seen = capture(model, layers, part.ids, mask.long())
    return seen[:, torch.arange(len(part.ids)), part.last]
