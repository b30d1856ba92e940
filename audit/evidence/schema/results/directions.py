"""Results on is the knowledge still there: the stage `directions`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audit.evidence.schema.documents import Document, Estimate


class ProbeCell(Document):
    """One layer and position of a concept, probed on held-out entities."""

    layer: int
    """Block whose output is read; -1: mean of the token embeddings alone."""
    position: str
    auc_base: Estimate
    """LDA fit and scored on the base; interval over entities (Newcombe 2006)."""
    auc_tuned: Estimate
    auc_transfer_bt: float
    """The base's probe scored on the tuned model."""
    auc_transfer_tb: float
    null_mean: float
    """Mean AUC of probes on the tuned model with classes shuffled over entities."""
    null_high: float
    """Their 95 % quantile."""
    embedding_gain: Estimate | None
    """AUC on the tuned model minus that of the embeddings alone: above 0, layers know more than words."""
    cosine: Estimate | None
    """Of the mean-difference directions, same entities in both models, so that they share noise."""
    cosine_ceiling: float | None
    """What equal directions would reach if the models were read on different entities."""
    cosine_corrected: float | None
    """Across halves of the entities over what each model reaches within; about 1 for equal directions."""
    norm_ratio: Estimate | None
    norm_ratio_corrected: float | None
    """The same with noise cancelled: 0 for a direction that is gone."""
    variance_ratio: float | None
    measurable: bool
    """The directions of both models are reliable enough for the cosine to mean anything."""


class ConceptDirections(Document):
    """A suite's concept in both models: is the knowledge still there?"""

    suite: str
    concept: str | None
    """None: the suite has no concept."""
    label_a: str | None = None
    label_b: str | None = None
    texts: int = 0
    entities_train: int = 0
    entities_test: int = 0
    unreadable: str | None = None
    """Why nothing was measured, if so."""
    positions: list[str] = Field(default_factory=list)
    texts_without_entity: int = 0
    """Texts without their entity's name, which the position `entity` read at their last token."""
    chosen: ProbeCell | None = None
    """Where the base represents it best, by cross-validation among the base's train entities; the earliest of
    equals. Never chosen by a held-out entity or by the tuned model."""
    carried: ProbeCell | None = None
    """The deepest block that was read, at the last token: does the class run through the tuned model along
    the direction that it has in the base? None where a direction is too unreliable there to compare."""
    decodable: Literal["yes", "between", "no", "unknown"] = "unknown"
    """In the tuned model, at the chosen layer. yes: AUC of at least .9, its interval above the null's 95 %
    quantile; no: at most .65 and inside the null; between: neither."""
    base_decodable: Literal["yes", "between", "no", "unknown"] = "unknown"
    """The same in the base: without yes, nothing can be said to be lost."""
    highest_auc_tuned: float | None = None
    """Largest AUC in the tuned model over all layers, positions and probes (LDA, logistic, MLP)."""
    highest_auc_base: float | None = None
    """The same in the base."""
    highest_mlp_tuned: float | None = None
    """Largest AUC of the MLP alone, in the tuned model."""
    highest_null: float | None = None
    """95 % quantile of the largest AUC of LDA over all layers and positions for classes that the tuned model
    never had: shuffled over entities."""
    highest_null_all: float | None = None
    """The same of all three probes; None: the preset fits the slower ones to no shuffled classes."""
    everywhere_at_chance: bool | None = None
    """In the tuned model no probe at any layer or position exceeds `highest_null`, nor .9. It does not show
    that nothing is there: it says that probes of this power, on this many entities, find nothing. None where
    the same probes do not find it in the base."""
    layers_beyond_words: list[int] = Field(default_factory=list)
    """Blocks at which the tuned model's probe exceeds the embeddings alone at some position (interval
    above 0, not corrected for the number of blocks)."""


class DirectionsResult(Document):
    """Result of the stage `directions`."""

    concepts: list[ConceptDirections]
    in_base: list[ConceptDirections] = Field(default_factory=list)
    """For behaviours that rose: the same with base and tuned model in each other's place."""
    layers: list[int]
    """Blocks that were read."""
    shuffles: int
    """Shuffles of the classes behind each null."""
