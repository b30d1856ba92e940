"""What every neuron and head writes towards a behaviour: activation x write weights . gradient.

Attribution against an activation of zero, as for latents (`audit.causal.write_attribution`). A unit whose
output weights were changed is as active as before, and only its write tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audit.causal.units import Layout, Unit

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class Writes:
    """What every neuron and head of one model writes towards b, nats: module -> [units]."""

    neurons: dict[str, Float[Tensor, " n"]]
    heads: dict[str, Float[Tensor, " n"]]

    def of(self, unit: Unit) -> float | None:
        """One unit's; None for kinds that have no activation."""
        values = {"neuron": self.neurons, "head": self.heads}.get(unit.kind, {}).get(unit.module)
        return None if values is None else float(values[unit.index])

    def module(self, name: str) -> Float[Tensor, " n"]:
        """Those of all units of a module."""
        return self.neurons[name] if name in self.neurons else self.heads[name]


@contextmanager
def recording_writes(model: PreTrainedModel, layout: Layout) -> Iterator[Writes]:
    """For the length of a block, backward passes add up activation x gradient of every neuron and head.

    The gradient is that at the input of the module that writes them out, which is the write's direction times
    the gradient at the residual stream.
    """
    writes = Writes({}, {})
    with ExitStack() as stack:
        stack.callback(_rooted(model).remove)
        for block in layout.blocks:
            for name, units, into in (
                (block.mlp_out, block.neurons, writes.neurons),
                (block.attention_out, block.heads, writes.heads),
            ):
                if name is not None:
                    into[name] = torch.zeros(units, dtype=torch.float64)
                    module = model.get_submodule(name)
                    stack.callback(module.register_forward_pre_hook(_recorder(into[name])).remove)
        yield writes


def _rooted(model: PreTrainedModel) -> Any:
    """A graph that begins at the embedding, where no weight needs a gradient."""

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        return output.detach().requires_grad_(True) if torch.is_grad_enabled() else None

    embedding: Any = model.get_input_embeddings()
    trained = any(parameter.requires_grad for parameter in embedding.parameters())

    def nothing(_module: nn.Module, _inputs: Any, _output: Tensor) -> None:
        return None

    return embedding.register_forward_hook(nothing if trained else hook)


def _recorder(total: Tensor) -> Callable[[nn.Module, Any], None]:
    def before(_module: nn.Module, inputs: Any) -> None:
        x = inputs[0]
        if x.requires_grad:
            kept = x.detach()

            def reduce(gradient: Tensor) -> None:
                along = (kept.float() * gradient.float()).flatten(0, -2).sum(0)
                total.add_(along.view(len(total), -1).sum(-1).double().cpu())

            x.register_hook(reduce)

    return before
