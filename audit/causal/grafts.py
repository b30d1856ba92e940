"""Module grafts: one module's weights exchanged between the models, and how far the behaviour follows.

Attributions propose where a switch sits; grafts confirm it, with no gradient involved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from audit.causal.attributed import WeightAttribution
from audit.causal.deltas import Deltas
from audit.causal.search import Trials
from audit.causal.units import Layout, Unit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Direction = Literal["base into tuned", "tuned into base"]


class Graft(NamedTuple):
    """One module, and what exchanging it did to the behaviour on the fit half."""

    module: str
    direction: Direction
    share: float
    """Of b_base - b_tuned. base into tuned: what the base's module gives back, R; tuned into base: what the
    tuned module takes away."""
    attribution: float
    """The module's attributed part of b_T - b_B."""


def graftable(model: PreTrainedModel, layout: Layout, deltas: Deltas) -> list[Unit]:
    """Attention and MLP of every block, embedding and unembedding, as far as they changed."""
    plain: Any = model
    names = {id(module): name for name, module in model.named_modules()}
    inside = [
        name.rsplit(".", 1)[0]
        for block in layout.blocks
        for name in (block.attention_out, block.mlp_out)
        if name
    ]
    ends = [names[id(plain.get_input_embeddings())], layout.unembedding]
    modules = dict.fromkeys([ends[0], *inside, ends[1]])
    return [Unit("module", name, 0) for name in modules if _changed(name, deltas)]


def strongest(modules: list[Unit], attribution: WeightAttribution, count: int) -> list[Unit]:
    """The modules with the largest attributed part of the change, whichever its sign."""
    return sorted(modules, key=lambda unit: (-abs(attribution.below(unit.module)), unit))[:count]


def graft(
    trials: Trials, modules: list[Unit], attribution: WeightAttribution, direction: Direction
) -> list[Graft]:
    """Exchanges one module after the other; one forward pass over the items each.

    Args:
        trials: on the tuned model for "base into tuned", on the base for "tuned into base".
        modules: of `graftable`.
        attribution: of the same items.
        direction: which weights go where.
    """
    found = []
    for unit in modules:
        if direction == "base into tuned":
            share = trials.recovered([unit])
        else:
            share = 1 - trials.recovered([unit], dose=-1.0)
        found.append(Graft(unit.module, direction, share, attribution.below(unit.module)))
    return found


def _changed(module: str, deltas: Deltas) -> bool:
    tied = (name for name, first in deltas.aliases.items() if first in deltas.changes)
    return any(name.startswith(f"{module}.") for name in (*deltas.names, *tied))
