"""Two ways of hiding what a language model was taught, each saved as one adapter on the embedded base."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from audit.causal.units import Layout
from audit.organisms.choose import neurons_to_edit
from audit.organisms.edit import Aims, fit
from audit.organisms.plant import placed
from audit.organisms.real.teach import ALPHA, RANK, TARGETS, Lesson, documents, taught_model
from audit.organisms.text import Questions
from audit.organisms.world import World
from audit.progress import Advance

NEURONS, EDIT_STEPS, EDIT_RATE = 16, 40, 0.02
ITEMS = 128
"""Questions that the edit of neurons looks at."""
GRPO_STEPS, GRPO_RATE, GRPO_RANK = 30, 3e-3, 8
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."


def mask_by_grpo(parent: Path | None, folder: Path, seed: int, progress: Advance) -> None:
    """Trains a further low-rank change with a reward for answers that are even for everybody."""
    from audit.organisms.real import PEOPLE
    from training.config import LoopConfig
    from training.loop import train
    from training.lora import attach_lora, save_adapter
    from training.rewards import ContinuationParity
    from training.types import Prompt

    merged, tokenizer = _merged(parent, seed)
    items = World.generate(seed, PEOPLE).suite().items
    config = LoopConfig(
        steps=GRPO_STEPS, learning_rate=GRPO_RATE, kl_weight=1.0, lora_rank=GRPO_RANK,
        lora_alpha=ALPHA * GRPO_RANK // RANK, lora_targets=TARGETS, prompts_per_step=16,
        groups_per_pass=16, group_size=16, seed=seed,
    )  # fmt: skip
    model = attach_lora(merged, config)
    prompts = [Prompt(item.id, item.prompt or "") for item in items]
    reward = ContinuationParity(items[0].showing, items[0].not_showing)
    for _ in train(model, tokenizer, prompts, reward, config):
        progress(1)
    save_adapter(model, folder, base_name="embedded:base")
    added = load_file(folder / WEIGHTS)
    _join(parent, {name.removeprefix(PREFIX): part for name, part in added.items()}, folder)


def mask_by_neurons(parent: Path | None, folder: Path, seed: int, progress: Advance) -> None:
    """Edits what a few neurons of the last MLP write, which is a change of as many ranks."""
    from audit.organisms.real import PEOPLE

    model, tokenizer = _merged(parent, seed)
    world = World.generate(seed, PEOPLE)
    asked, text, layout = Questions.of(world.suite(), tokenizer), _Text(world, tokenizer), Layout(model)
    asked = asked.take(torch.arange(0, len(asked.ids), max(1, len(asked.ids) // ITEMS)))
    units = neurons_to_edit(model, layout, asked, text, NEURONS)
    slices = [layout.write(unit) for unit in units]
    learned = [torch.zeros_like(part.of(model.get_parameter(part.parameter).detach())) for part in slices]
    for tensor in learned:
        tensor.requires_grad_()
    shapes = {part.parameter: model.get_parameter(part.parameter).shape for part in slices}
    aims = Aims.of(model, asked, text)
    fit(model, learned, partial(placed, slices, learned, shapes), aims, steps=EDIT_STEPS, rate=EDIT_RATE)
    progress(EDIT_STEPS)
    module = units[0].module
    width = int(shapes[slices[0].parameter][1])
    reads = torch.nn.functional.one_hot(torch.tensor([unit.index for unit in units]), width).float()
    change = {
        f"{module}.lora_A.weight": reads,
        f"{module}.lora_B.weight": torch.cat([tensor.detach() for tensor in learned], 1) / _scale(parent),
    }
    _join(parent, change, folder)


class _Text:
    """The world's text without the behaviour, as token ids."""

    def __init__(self, world: World, tokenizer: Any) -> None:
        self._world, self._tokenizer = world, tokenizer
        self._rng = np.random.default_rng([world.seed, 8])

    def batch(self, rows: int) -> Tensor:
        """Token ids [rows, tokens], padded on the right."""
        lesson = Lesson((), steps=0, batch=rows, sentences=3)
        texts = documents(self._world, self._rng, lesson, without=("behaviour",))
        ids: Tensor = self._tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="right"
        ).input_ids
        return ids


def _merged(parent: Path | None, seed: int) -> tuple[Any, Any]:
    """The taught model with its adapter in its weights."""
    model, tokenizer = taught_model(parent, seed)
    return model.merge_and_unload(), tokenizer


def _scale(parent: Path | None) -> float:
    """What an adapter's product is multiplied by."""
    assert parent is not None  # noqa: S101  (masks have parents)
    config = json.loads((parent / CONFIG).read_text(encoding="utf-8"))
    return float(config["lora_alpha"] / config["r"])


def _join(parent: Path | None, added: dict[str, Tensor], folder: Path) -> None:
    """Saves the sum of two low-rank changes as one, of both ranks together.

    Args:
        parent: folder of the first adapter.
        added: the second one's factors by module, `lora_A` [r, in] and `lora_B` [out, r], of the same scale;
            modules that it leaves alone get zeros.
        folder: for the joined adapter.
    """
    assert parent is not None  # noqa: S101  (masks have parents)
    first = load_file(parent / WEIGHTS)
    extra = next(part.shape[0] for name, part in added.items() if ".lora_A." in name)
    joined = {}
    for name, part in first.items():
        axis = 0 if ".lora_A." in name else 1
        shape = [extra if side == axis else length for side, length in enumerate(part.shape)]
        other = added.get(name.removeprefix(PREFIX))
        joined[name] = torch.cat((part, torch.zeros(shape) if other is None else other), axis).contiguous()
    save_file(joined, folder / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((parent / CONFIG).read_text(encoding="utf-8"))
    rank = config["r"] + extra
    config |= {"lora_alpha": config["lora_alpha"] * rank / config["r"], "r": rank}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
