"""A small supervised fine-tune: next-token training of a low-rank change that leaves the weights alone.

The change lives in forward hooks, so it can lie on a model that already carries an adapter, be scaled, and be
gone again, with not one weight touched: what null models in one copy of the weights need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from training.errors import TrainingError

BASE_LAYER = ".base_layer"
"""How peft names a linear layer inside its adapter's wrapper."""


@dataclass(frozen=True)
class FinetuneConfig:
    """How the change is trained."""

    rank: int = 8
    """Rank of each low-rank update."""
    targets: tuple[str, ...] | None = None
    """Names (last part) of the linear layers that get one; None: all but the unembedding."""
    steps: int = 12
    """Optimiser steps."""
    batch_size: int = 4
    """Texts per step."""
    tokens: int = 64
    """Tokens of each text that are read."""
    learning_rate: float = 1e-3
    """Of AdamW."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    """Of the start and of the order of the texts."""


class LowRankChange(nn.Module):
    """W + scale * B A for some linear layers, by their names in the model without an adapter."""

    def __init__(self, shapes: dict[str, tuple[int, int]], rank: int, seed: int) -> None:
        """Starts as no change: A is random, B is zero (Hu et al. 2021, arXiv 2106.09685).

        Args:
            shapes: layer -> (inputs, outputs).
            rank: of each change.
            seed: of A.
        """
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.names = tuple(shapes)
        self.scale = 1.0
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in shapes.values():
            self.down.append(torch.randn(rank, inputs, generator=generator) / inputs**0.5)
            self.up.append(torch.zeros(outputs, rank))

    @contextmanager
    def on(self, model: PreTrainedModel) -> Iterator[None]:
        """For the length of a block the model computes with the change."""
        layers = linear_layers(model)
        handles = [
            layers[name].register_forward_hook(self._hook(place)) for place, name in enumerate(self.names)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, place: int) -> Callable[[nn.Module, Any, Any], Tensor]:
        down, up = self.down[place], self.up[place]

        def add(_module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            moved = nn.functional.linear(nn.functional.linear(inputs[0].to(down.dtype), down), up)
            return output + (self.scale * moved).to(output.dtype)

        return add


def finetune(
    model: PreTrainedModel,
    texts: Sequence[Sequence[int]],
    config: FinetuneConfig,
    *,
    progress: Callable[[int], object] = lambda done: None,
) -> LowRankChange:
    """Trains a change on the next tokens of some texts; the model itself stays as it is.

    Args:
        model: in eval mode, its parameters without gradients.
        texts: token ids; those of fewer than two tokens teach nothing.
        config: how.
        progress: called with the number of steps just done.

    Raises:
        TrainingError: no layer or no text to train, or the loss is not finite.
    """
    rows = [tuple(text[: config.tokens]) for text in texts if len(text) > 1]
    if not rows:
        raise TrainingError("there is no text to train on", where="texts", fix="use a larger corpus")
    change = LowRankChange(_shapes(model, config.targets), config.rank, config.seed).to(model.device)
    optimizer = torch.optim.AdamW(change.parameters(), lr=config.learning_rate, weight_decay=0.0)
    order = torch.Generator().manual_seed(config.seed + 1)
    with torch.enable_grad(), change.on(model):
        for step in range(config.steps):
            chosen = torch.randint(len(rows), (config.batch_size,), generator=order).tolist()
            optimizer.zero_grad(set_to_none=True)
            loss = next_token_loss(model, [rows[i] for i in chosen])
            if not bool(loss.isfinite()):
                raise TrainingError(
                    "the loss is not finite", where=f"step {step}", fix="run the models in float32"
                )
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            nn.utils.clip_grad_norm_(change.parameters(), config.gradient_clip)
            optimizer.step()
            progress(1)
    return change.requires_grad_(False)


def next_token_loss(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Mean cross-entropy per predicted token, nats."""
    ids, mask = padded(rows, model.device)
    plain: Any = model
    logits = plain(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    wanted = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    return nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())


def padded(
    rows: Sequence[Sequence[int]], device: torch.device
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Token ids padded on the right, and 1 where a token is."""
    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], device=device)
    return ids, mask


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Every linear layer but the unembedding, by its name in the model without an adapter."""
    plain: Any = model
    head = plain.get_output_embeddings()
    inside = set(head.modules()) if head is not None else set()
    return {
        name.removesuffix(BASE_LAYER): module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module not in inside and ".lora_" not in name
    }


def _shapes(model: PreTrainedModel, targets: tuple[str, ...] | None) -> dict[str, tuple[int, int]]:
    shapes = {}
    for name, layer in linear_layers(model).items():
        if targets is None or name.rsplit(".", 1)[-1] in targets:
            weight: Any = layer.weight
            rows, columns = weight.shape
            shapes[name] = (rows, columns) if isinstance(layer, Conv1D) else (columns, rows)
    if not shapes:
        raise TrainingError(
            "the model has no linear layer to train",
            where=", ".join(targets or ()) or type(model).__name__,
            fix="name layers that the model has",
        )
    return shapes
