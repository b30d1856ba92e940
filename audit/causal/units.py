"""Units that may carry a switch, and which slices of which parameters make each of them.

A unit is a neuron of an MLP, an attention head, a row of the unembedding, one singular component of a
module's weight change, or a whole module. Parameters are named as in the model without an adapter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from sae.hooks import blocks_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Kind = Literal["neuron", "head", "row", "component", "module"]
KINDS: tuple[Kind, ...] = ("neuron", "head", "row", "component", "module")

MLP_OUT = ("mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h")
MLP_IN = ("mlp.gate_proj", "mlp.up_proj", "mlp.c_fc", "mlp.dense_h_to_4h")
ATTENTION_OUT = ("self_attn.o_proj", "attn.c_proj", "attention.dense")
QUERY = ("self_attn.q_proj",)


@dataclass(frozen=True, order=True)
class Unit:
    """One unit; its module is the linear layer whose weights write it out."""

    kind: Kind
    module: str
    """neuron: the MLP's output projection; head: the attention's; row: the unembedding; else any linear layer
    (or, for a whole module, any module)."""
    index: int
    """Neuron, head, token id, or number of the singular component; 0 for a whole module."""


@dataclass(frozen=True)
class Slice:
    """Part of a parameter: entries start to stop along one axis."""

    parameter: str
    axis: int
    start: int
    stop: int

    def of(self, tensor: Tensor) -> Tensor:
        """The part as a view."""
        return tensor.narrow(self.axis, self.start, self.stop - self.start)


@dataclass(frozen=True)
class Block:
    """The linear layers of one transformer block, by name."""

    mlp_in: tuple[str, ...]
    mlp_out: str | None
    query: str | None
    attention_out: str | None
    neurons: int
    heads: int


class Layout:
    """Names and sizes of a model's units, read from the model itself.

    Raises:
        ValueError: the model's architecture is not understood (no list of blocks).
    """

    def __init__(self, model: PreTrainedModel) -> None:
        plain: Any = model
        self._model = plain
        self._names = {id(module): name for name, module in model.named_modules()}
        self.heads = int(model.config.get_text_config().num_attention_heads)
        self.blocks = tuple(self._block(block) for block in blocks_of(model))
        self.unembedding = self._names[id(plain.get_output_embeddings())]

    def units(self, kind: Literal["neuron", "head", "row"]) -> list[Unit]:
        """Every unit of a kind, in the order of the model."""
        if kind == "row":
            rows = self.linear(self.unembedding).weight.shape[0]
            return [Unit("row", self.unembedding, i) for i in range(rows)]
        outs = [
            (b.mlp_out, b.neurons) if kind == "neuron" else (b.attention_out, b.heads) for b in self.blocks
        ]
        return [Unit(kind, name, i) for name, count in outs if name for i in range(count)]

    def slices(self, unit: Unit) -> tuple[Slice, ...]:
        """The parameters that belong to a unit: what it reads with, then what it writes with (last).

        A head's keys and values may be shared with other heads and are left out. A component or a module
        has no slices of its own: see `audit.causal.deltas`.
        """
        if unit.kind == "row":
            return (Slice(f"{unit.module}.weight", 0, unit.index, unit.index + 1),)
        block = next((b for b in self.blocks if unit.module in (b.mlp_out, b.attention_out)), None)
        if block is None or unit.kind not in ("neuron", "head"):
            raise ValueError(f"{unit} has no slices")
        width = 1 if unit.kind == "neuron" else self.head_width(unit.module)
        start, stop = unit.index * width, (unit.index + 1) * width
        readers = block.mlp_in if unit.kind == "neuron" else ((block.query,) if block.query else ())
        reads = [self._part(name, start, stop, output=True) for name in readers]
        biases = [
            Slice(f"{name}.bias", 0, start, stop) for name in readers if self.linear(name).bias is not None
        ]
        return (*reads, *biases, self._part(unit.module, start, stop, output=False))

    def write(self, unit: Unit) -> Slice:
        """The weights that carry a unit's activation into the residual stream (or into its logit)."""
        return self.slices(unit)[-1]

    def head_width(self, attention_out: str) -> int:
        """Entries of one head in the input of an attention's output projection."""
        weight = self.linear(attention_out).weight
        entries = int(weight.shape[0] if self.transposed(attention_out) else weight.shape[1])
        return entries // self.heads

    def linear(self, name: str) -> Any:
        """A linear layer by name, without the adapter around it."""
        module = self._model.get_submodule(name)
        return getattr(module, "base_layer", module)

    def transposed(self, name: str) -> bool:
        """Whether the layer keeps its weight as [inputs, outputs] (GPT-2's Conv1D)."""
        return type(self.linear(name)).__name__ == "Conv1D"

    def is_linear(self, name: str) -> bool:
        """Whether a layer's output is linear in its weight and bias at every position by itself."""
        return isinstance(self.linear(name), nn.Linear) or self.transposed(name)

    def _part(self, name: str, start: int, stop: int, *, output: bool) -> Slice:
        return Slice(f"{name}.weight", 0 if output != self.transposed(name) else 1, start, stop)

    def _block(self, block: nn.Module) -> Block:
        def found(suffixes: tuple[str, ...]) -> list[str]:
            named = dict(block.named_modules())
            return [self._names[id(named[suffix])] for suffix in suffixes if suffix in named]

        mlp_in, mlp_out = found(MLP_IN), found(MLP_OUT)
        query, out = found(QUERY), found(ATTENTION_OUT)
        neurons = 0
        if mlp_out:
            weight = self.linear(mlp_out[0]).weight
            neurons = int(weight.shape[0] if self.transposed(mlp_out[0]) else weight.shape[1])
        return Block(
            mlp_in=tuple(mlp_in),
            mlp_out=mlp_out[0] if mlp_out else None,
            query=query[0] if query else None,
            attention_out=out[0] if out else None,
            neurons=neurons,
            heads=self.heads if out else 0,
        )


def parameter(model: PreTrainedModel, name: str) -> nn.Parameter:
    """A parameter by its name in the model without an adapter.

    Below an adapter it is the base's weight: adding to it adds to the effective weight, and its gradient is
    the effective weight's.
    """
    module, _, short = name.rpartition(".")
    owner: Any = model.get_submodule(module)
    found: nn.Parameter = getattr(getattr(owner, "base_layer", owner), short)
    return found
