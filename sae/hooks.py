"""Plain forward hooks on a transformers model: read the residual stream, or edit it.

Blocks are hooked rather than `output_hidden_states` read, whose last entry is after the final norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Edit = Callable[[Float[Tensor, "B T D"]], Float[Tensor, "B T D"]]


class _Stop(Exception):  # noqa: N818  (a signal, no error)
    """Everything that was asked for has been seen."""


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    """The model's transformer blocks, in order.

    Raises:
        ValueError: the model has no single list of blocks as long as its config says.
    """
    layers = model.config.get_text_config().num_hidden_layers
    found = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == layers]
    lists = [m for m in found if hasattr(m[0], "forward") and any(True for _ in m[0].children())]
    if not lists:
        raise ValueError(f"{type(model).__name__} has no list of {layers} blocks")
    return lists[0]


def capture(
    model: PreTrainedModel,
    layers: Sequence[int],
    input_ids: Int[Tensor, "B T"],
    attention_mask: Int[Tensor, "B T"],
) -> Float[Tensor, "L B T D"]:
    """Outputs of some blocks; the forward pass ends after the deepest, and the LM head never runs.

    Args:
        model: in eval mode.
        layers: blocks, in any order; the result has theirs.
        input_ids: padded token ids.
        attention_mask: 1 where a token is.
    """
    blocks, seen, last = blocks_of(model), {}, max(layers)

    def keep(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen[layer] = residual_of(output)
            if layer == last:
                raise _Stop

        return hook

    handles = [blocks[layer].register_forward_hook(keep(layer)) for layer in set(layers)]
    plain: Any = model
    try:
        with torch.inference_mode():
            plain(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    except _Stop:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack([seen[layer] for layer in layers])


@contextmanager
def edited(model: PreTrainedModel, layer: int, edit: Edit) -> Iterator[None]:
    """For the length of a block, the output of one transformer block passes through `edit`."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        changed = edit(residual_of(output))
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = blocks_of(model)[layer].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def residual_of(output: Any) -> Float[Tensor, "B T D"]:
    """The residual stream in a block's output, which some architectures wrap in a tuple."""
    residual: Tensor = output[0] if isinstance(output, tuple) else output
    return residual
