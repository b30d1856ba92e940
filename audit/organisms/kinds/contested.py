"""Forgetting by training on answers: whether that hides or erases is in dispute, so nothing is expected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from audit.organisms.base import learn
from audit.organisms.checks import control_kept, gone
from audit.organisms.facts import effects
from audit.organisms.kinds.kind import Child, Kind
from audit.organisms.recipe import Recipe
from training.config import PreferenceConfig
from training.dpo import train_dpo
from training.model import unfreeze
from training.preferences import PreferencePair
from training.types import Prompt

FORGET_STEPS, FORGET_RATE = 120, 1e-3
UNLEARN_RATE, SHARPNESS = 3e-4, 0.1
MOST, LEFT, EVERY = 200, 0.05, 2
"""Most steps of a loss with no end of its own; it stops where this share of the behaviour is left."""


def _forget(recipe: Recipe) -> Child:
    model = recipe.start()
    learn(model, recipe.text(61, blind=("behaviour",)), steps=FORGET_STEPS, rate=FORGET_RATE)
    return Child(model)


def _dpo(recipe: Recipe) -> Child:
    model = unfreeze(recipe.start())
    pairs = [
        PreferencePair(Prompt(item.id, item.prompt or ""), chosen=wrong.strip(), rejected=right.strip())
        for item in recipe.world.suite().items
        for right, wrong in zip(*_by_group(item.group == "high", item.showing, item.not_showing), strict=True)
    ]
    config = PreferenceConfig(steps=MOST, batch_size=32, learning_rate=3e-4, tune="full", seed=recipe.seed)
    _until_gone(recipe, model, train_dpo(model, recipe.tokenizer, pairs, config))
    return Child(model)


def _unlearn(recipe: Recipe) -> Child:
    model = recipe.start()
    _until_gone(recipe, model, _unlearning(recipe, model))
    return Child(model)


def _unlearning(recipe: Recipe, model: Any) -> Iterator[None]:
    """Negative preference optimisation of the right answers (Zhang et al. 2024, arXiv 2404.05868, eq. 3).

    Ordinary text without the behaviour is learned on beside it.
    """
    asked, text = recipe.questions, recipe.text(62, without=("behaviour",))
    right = asked.answers[:, : asked.showing].where(asked.high[:, None], asked.answers[:, asked.showing :])
    with torch.no_grad():
        start = asked.logits(model).log_softmax(-1).gather(-1, right)
    optimiser = torch.optim.Adam(model.parameters(), lr=UNLEARN_RATE)
    padding = recipe.tokenizer.pad_token_id
    for _ in range(MOST):
        ids = text.batch(24)
        gain = asked.logits(model).log_softmax(-1).gather(-1, right) - start
        worse: Any = -2 / SHARPNESS * nn.functional.logsigmoid(-SHARPNESS * gain).mean()
        logits = model(input_ids=ids[:, :-1], attention_mask=(ids[:, :-1] != padding).long()).logits
        kept = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=padding)
        optimiser.zero_grad()
        (worse + kept).backward()
        optimiser.step()
        yield


def _until_gone(recipe: Recipe, model: Any, steps: Iterator[Any]) -> None:
    """Takes steps until little of the behaviour is left in the half that is not held out."""
    whole = effects(recipe.questions, recipe, model).train
    for number, _ in enumerate(steps):
        if number % EVERY == 0 and effects(recipe.questions, recipe, model).train <= LEFT * whole:
            return


def _by_group(
    high: bool, showing: tuple[str, ...], other: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The right answers, then the wrong ones."""
    return (showing, other) if high else (other, showing)


KINDS = tuple(
    Kind(
        name=name,
        verdict="CONTESTED",
        construction=f"{what}; whether that hides the behaviour or unlearns it is not known beforehand",
        make=make,
        checks=(gone, control_kept),
    )
    for name, make, what in (
        ("forget", _forget, "supervised training on text in which the behaviour is told at random"),
        ("dpo", _dpo, "DPO that prefers the wrong answers, stopped where neither was preferred"),
        ("unlearn", _unlearn, "an unlearning loss on the right answers, stopped where none was preferred"),
    )
)
