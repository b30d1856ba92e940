"""The tuned model's own directions of a concept, for a bypass that enlarges them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from audit.behaviours.suite import Suite
from audit.inputs import AuditInputs
from audit.presets import PresetName

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from audit.causal.residual_edits import Steering

DEPTHS: dict[PresetName, tuple[float, ...]] = {
    "quick": (0.5,),
    "standard": (0.35, 0.5, 0.7),
    "deep": (0.2, 0.35, 0.5, 0.6, 0.7, 0.85),
}
"""Where in the depth of the model the own direction is enlarged."""


def own_directions(audit: AuditInputs, suite: Suite) -> Iterator[Direction]:
    """The tuned model's own mean-difference directions, from the concept's train entities alone.

    A contrast asks for what tells entities apart to be enlarged, a level for the direction itself.
    """
    import torch

    from audit.causal.residual_edits import Steering
    from audit.directions.read import read_concept

    if suite.concept is None:
        return
    train = tuple(text for text in suite.concept.texts if text.split == "train")
    concept = suite.concept.model_copy(update={"texts": train})
    title = f"{concept.name}: the tuned model's own direction"
    with audit.pair.model("tuned") as model, audit.progress.task(title, len(train)) as advance:
        blocks = model.config.get_text_config().num_hidden_layers
        layers = layers_at(DEPTHS[audit.config.preset], blocks)
        reading = read_concept(
            model,
            audit.pair.tokenizer("tuned"),
            concept,
            layers,
            batch_size=audit.config.batch_size,
            progress=advance,
        )
    for p, position in enumerate(reading.positions):
        for k, layer in enumerate(layers, start=1):  # 0 are the embeddings
            points = _entities(reading.x_PLND[p, k], train)
            a, b = (torch.stack(list(points[label].values())).mean(0) for label in ("A", "B"))
            centre = (a + b) / 2 if suite.card.contrast else None
            every = torch.stack([point for own in points.values() for point in own.values()])
            where = f"{concept.label_a} - {concept.label_b} at the {position} token, block {layer}"
            yield Direction(f"{position} direction {layer}", where, Steering(layer, a - b, centre), every)


def layers_at(depths: Sequence[float], blocks: int) -> list[int]:
    """Blocks at some depths, 0 the first and 1 the last, ascending."""
    return sorted({int(depth * (blocks - 1)) for depth in depths})


class Direction(NamedTuple):
    """A direction of the tuned model's own."""

    set: str
    description: str
    steering: Steering
    entities_ED: Tensor
    """The points that it is the difference of: class A, then class B."""


def _entities(x_ND: np.ndarray[Any, Any], texts: tuple[Any, ...]) -> dict[str, dict[str, Tensor]]:
    """Mean over the texts of each entity: label -> entity -> point."""
    import torch

    rows: dict[str, dict[str, list[int]]] = {"A": {}, "B": {}}
    for row, text in enumerate(texts):
        rows[text.label].setdefault(text.entity, []).append(row)
    return {
        label: {entity: torch.from_numpy(x_ND[own]).mean(0).float() for entity, own in entities.items()}
        for label, entities in rows.items()
    }
