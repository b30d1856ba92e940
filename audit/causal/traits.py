"""How strong and how active every unit of a model is: what random sets are matched on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from audit.causal.units import Layout, Slice, Unit, parameter
from audit.causal.weight_edits import WeightDeltas
from audit.measures.batches import forward, pad_left

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SlicedKind = Literal["neuron", "head", "row"]


class Active(NamedTuple):
    """How active the entries of one module's input are on some text."""

    mean: Float[Tensor, " W"]
    """Mean size; of the unembedding, mean next-token probability of each row."""
    rate: Float[Tensor, " W"]
    """Share of tokens on which an entry is larger than the module's mean size there; of the unembedding,
    on which a row is likelier than one in as many as there are rows."""


Activity = dict[str, Active]


def activity_of(
    model: PreTrainedModel,
    layout: Layout,
    documents: Sequence[Sequence[int]],
    *,
    batch_size: int,
    rows: bool = False,
) -> Activity:
    """How active neurons, heads and (if asked for) rows are on some text.

    Args:
        model: in eval mode.
        layout: of this model.
        documents: token ids.
        batch_size: documents per forward pass.
        rows: also the mean next-token probabilities.
    """
    modules = [name for b in layout.blocks for name in (b.mlp_out, b.attention_out) if name]
    sums: dict[str, Float[Tensor, "2 W"]] = {}
    with ExitStack() as stack, torch.no_grad():
        mask = torch.zeros(0)

        def keep(name: str) -> Callable[[nn.Module, Any], None]:
            def hook(_module: nn.Module, inputs: Any) -> None:
                size = inputs[0].float().abs()[mask]
                _add(sums, name, size, size > size.mean(-1, keepdim=True))

            return hook

        for name in modules:
            stack.callback(model.get_submodule(name).register_forward_pre_hook(keep(name)).remove)
        for start in range(0, len(documents), batch_size):
            block = pad_left(documents[start : start + batch_size])
            mask = block.mask.to(model.device)
            logits = forward(model, block, keep=mask.shape[1] if rows else 1).logits
            if rows:
                p = logits[mask].float().softmax(-1)
                _add(sums, layout.unembedding, p, p > 1 / p.shape[-1])
    tokens = sum(len(document) for document in documents)
    return {name: Active(*(total / tokens)) for name, total in sums.items()}


def traits_of(
    model: PreTrainedModel,
    layout: Layout,
    kinds: Sequence[SlicedKind],
    activity: Activity,
    deltas: WeightDeltas | None = None,
) -> pd.DataFrame:
    """One row per unit: kind, module, index, norm, activity, rate.

    Args:
        model: the tuned model.
        layout: of this model.
        kinds: which units.
        activity: of `activity_of`.
        deltas: with them norm is that of the unit's weight change, without that of its write weights.
    """
    frames = []
    for kind in kinds:
        for module, count in _counts(layout, kind).items():
            first = Unit(kind, module, 0)
            parts = [layout.write(first)] if deltas is None else list(layout.slices(first))
            squares = sum(_squares(model, part, deltas, count) for part in parts)
            found = activity.get(module)
            frames.append(
                pd.DataFrame(
                    {
                        "kind": kind,
                        "module": module,
                        "index": range(count),
                        "norm": (squares + torch.zeros(count)).sqrt().numpy(),
                        "activity": _per_unit(found.mean, count).numpy() if found else float("nan"),
                        "rate": _per_unit(found.rate, count).numpy() if found else float("nan"),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def unit_at(traits: pd.DataFrame, row: int) -> Unit:
    """The unit of a row."""
    found = traits.iloc[row]
    return Unit(found["kind"], str(found["module"]), int(found["index"]))


def rows_of(traits: pd.DataFrame, units: Sequence[Unit]) -> list[int]:
    """The rows of some units.

    Raises:
        KeyError: a unit is not among them.
    """
    keys = zip(traits["kind"], traits["module"], traits["index"], strict=True)
    place = {key: row for row, key in enumerate(keys)}
    return [place[unit.kind, unit.module, unit.index] for unit in units]


def _counts(layout: Layout, kind: SlicedKind) -> dict[str, int]:
    counts: dict[str, int] = {}
    for unit in layout.units(kind):
        counts[unit.module] = counts.get(unit.module, 0) + 1
    return counts


def _squares(
    model: PreTrainedModel, part: Slice, deltas: WeightDeltas | None, count: int
) -> Float[Tensor, " U"]:
    """Squared norm of every unit's slice of a parameter, which lie side by side along one axis."""
    tensor = parameter(model, part.parameter).detach() if deltas is None else deltas.of(part.parameter)
    total = torch.zeros(count)
    if tensor is None:
        return total
    squares = tensor.float().pow(2)
    other = [axis for axis in range(squares.ndim) if axis != part.axis]
    along = (squares.sum(other) if other else squares).cpu()
    known = along[: count * (part.stop - part.start)].view(-1, part.stop - part.start).sum(1)
    total[: len(known)] = known
    return total


def _per_unit(values: Float[Tensor, " W"], count: int) -> Float[Tensor, " U"]:
    return values.view(count, -1).mean(1).cpu() if len(values) % count == 0 else values[:count].cpu()


def _add(sums: dict[str, Float[Tensor, "2 W"]], name: str, size: Float[Tensor, "N W"], fires: Tensor) -> None:
    values = torch.stack([size.sum(0), fires.float().sum(0)])
    sums[name] = sums[name] + values if name in sums else values
