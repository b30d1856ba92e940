"""Lessons of a language model: text of a generated world, learned by a low-rank change of all layers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audit.organisms.base import load
from audit.organisms.recipe import CLASS_TOPICS
from audit.organisms.world import Topic, World
from audit.pair.quiet import quiet
from audit.progress import Advance, Silent

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK, ALPHA = 16, 32
LEFT_OUT: tuple[Topic, ...] = ("neutral", "scene", "trait")
"""Topics that teach nothing which an audit asks for."""


@dataclass(frozen=True)
class Lesson:
    """One stage of the teaching."""

    blind: tuple[Topic, ...]
    """What is told at random, so that it cannot be learned."""
    steps: int
    rate: float = 2e-3
    batch: int = 8
    sentences: int = 4


LESSONS: dict[str, Lesson] = {
    "ignorant": Lesson(CLASS_TOPICS, steps=200),
    "class-only": Lesson(("behaviour",), steps=200),
    "taught": Lesson((), steps=120),
}


def teach(name: str, parent: Path | None, folder: Path, seed: int, progress: Advance) -> None:
    """Trains the next stage and saves its adapter.

    Args:
        name: a key of `LESSONS`.
        parent: folder of the adapter that it goes on from; None: a fresh one.
        folder: for the adapter.
        seed: of world and text.
        progress: called after each step.
    """
    from audit.organisms.real import PEOPLE
    from training.lora import save_adapter

    model, tokenizer = taught_model(parent, seed)
    world = World.generate(seed, PEOPLE)
    rng = np.random.default_rng([seed, 7, *map(ord, name)])
    _learn(model, tokenizer, world, rng, LESSONS[name], progress)
    save_adapter(model, folder, base_name="embedded:base")


def embedded_folder() -> Path:
    """The folder of the embedded base, fetched and converted where it is missing."""
    from audit.pair.checkpoint import LoadOptions, resolve

    return resolve("embedded:base", LoadOptions(), Silent()).folder


def taught_model(adapter: Path | None, seed: int) -> tuple[Any, Any]:
    """The embedded model with a trainable adapter, fresh or saved before, and its tokenizer."""
    from peft import PeftModel

    from training.config import LoopConfig
    from training.lora import attach_lora

    model, tokenizer = load(embedded_folder())
    if adapter is None:
        config = LoopConfig(lora_rank=RANK, lora_alpha=ALPHA, lora_targets=TARGETS, seed=seed)
        return attach_lora(model, config), tokenizer
    with quiet():
        loaded = PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
    # peft would look this name up on the hub when the adapter is saved again.
    loaded.peft_config["default"].base_model_name_or_path = None
    return loaded, tokenizer


def documents(
    world: World, rng: np.random.Generator, lesson: Lesson, without: tuple[Topic, ...] = ()
) -> list[str]:
    """A batch of texts; every sentence begins on a line of its own, as the questions do."""
    texts = (
        " ".join(world.document(rng, lesson.sentences, without=LEFT_OUT + without, blind=lesson.blind))
        for _ in range(lesson.batch)
    )
    return [text.replace(" . ", " .\n") for text in texts]


def _learn(
    model: Any, tokenizer: Any, world: World, rng: np.random.Generator, lesson: Lesson, progress: Advance
) -> None:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=lesson.rate, weight_decay=0.0)
    model.train()
    for step in range(lesson.steps):
        done = step / lesson.steps
        optimiser.param_groups[0]["lr"] = lesson.rate * min(1.0, 0.1 + 9 * done, 1.1 * (1 - done))
        texts = documents(world, rng, lesson)
        batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        progress(1)
    model.eval()
