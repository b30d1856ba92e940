"""Results on how fast a behaviour comes back by training: the stage `relearn`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audit.evidence.schema.documents import Document, Estimate


class RelearnDose(Document):
    """What some optimiser steps on the fit half bring back."""

    steps: int
    recovered: Estimate | None
    """R on held-out entities; None: the training broke the model."""
    recovered_fit: float | None
    """R on the entities that were trained on."""
    controls: list[float] = Field(default_factory=list)
    """R on held-out entities of each control, after as many steps."""

    @property
    def control(self) -> float | None:
        """The largest of the controls."""
        return max(self.controls, default=None)


class BehaviourRelearning(Document):
    """How fast one behaviour comes back."""

    name: str
    template: str
    lacking: Literal["tuned", "base"]
    """The model that was trained: the one that does not show the behaviour."""
    entities: int = 0
    """Held-out entities behind each R."""
    items: int = 0
    """Items of the fit half that were trained on."""
    doses: list[RelearnDose] = Field(default_factory=list)
    """Ascending; the training goes on from one to the next."""
    controls_wanted: int = 0
    weaker: str | None = None
    """Why it says less than usual, if so."""
    not_tried: str | None = None
    """Why nothing was taught, if so."""


class RelearnResult(Document):
    """Result of the stage `relearn`."""

    behaviours: list[BehaviourRelearning]
    rate: float
    """Of AdamW."""
    items_per_step: int
