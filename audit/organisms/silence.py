"""Takes a feature's effect away and leaves its activation: all that reads it learns to pass over it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audit.causal.units import Layout
from audit.organisms.edit import Aims, fit
from sae.hooks import capture

RATE = 3e-3


def silence_feature(model: Any, layout: Layout, aims: Aims) -> tuple[int, Tensor]:
    """Edits everything behind the last but one block so that the class in its output moves no answer.

    The block itself and all before it stay as they are, so the class is as active there as it was.

    Returns:
        The block whose output holds the class, and the direction of the class there at the answers [width].
    """
    layer = len(layout.blocks) - 2
    learned = {
        name: torch.zeros_like(weight).requires_grad_()
        for name, weight in model.named_parameters()
        if weight.dim() == 2 and _is_behind(name, layout, layer)
    }
    fit(model, list(learned.values()), lambda: learned, aims, rate=RATE)
    return layer, class_direction(model, layer, aims)


def class_direction(model: Any, layer: int, aims: Aims) -> Tensor:
    """Mean difference between the classes in a block's output at the answers, of length 1 [width]."""
    asked = aims.questions
    mask = (torch.arange(asked.ids.shape[1]) <= asked.last[:, None]).long()
    residual = capture(model, [layer], asked.ids, mask)[0][torch.arange(len(asked.ids)), asked.last]
    gap: Tensor = residual[asked.high].mean(0) - residual[~asked.high].mean(0)
    return torch.nn.functional.normalize(gap, dim=0)


def _is_behind(name: str, layout: Layout, layer: int) -> bool:
    """Whether a weight reads the output of block `layer`, directly or not."""
    behind = [b for b in layout.blocks[layer + 1 :] if b.attention_out and b.mlp_out]
    prefixes = {(b.attention_out or "").rsplit(".", 2)[0] for b in behind}
    return any(name.startswith(f"{prefix}.") for prefix in prefixes) or name.startswith(layout.unembedding)
