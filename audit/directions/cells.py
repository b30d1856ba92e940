"""Rows of the table `directions`: every probe and direction of a concept, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from audit.behaviours.suite import Concept
from audit.directions.read import Reading
from audit.measures.bootstrap import Estimate, FloatArray
from audit.measures.directions import MIN_ENTITIES, compare_directions
from audit.measures.probes import (
    BoolArray,
    Kind,
    Probe,
    Shuffles,
    Texts,
    auc_estimate,
    auc_gain,
    cross_validated_auc,
    fit_probe,
    null_aucs,
    null_of_others,
    shuffles,
    subset,
)


@dataclass(frozen=True)
class Effort:
    """Counts and seed of a concept's estimates."""

    shuffles: int
    other_shuffles: int
    """Of the shuffles, the first ones, on which the slower probes are fit too."""
    draws: int
    seed: int


@dataclass(frozen=True)
class Entities:
    """Whom the texts of a concept speak of."""

    code: np.ndarray[tuple[int], np.dtype[np.int64]]
    """[N] number of each text's entity."""
    is_a: BoolArray
    """[E]."""
    train: BoolArray
    """[E] whether the entity is in the train split."""

    @classmethod
    def of(cls, concept: Concept) -> Entities:
        """The entities in the order in which they come up."""
        texts = concept.texts
        code, names = pd.factorize(np.array([text.entity for text in texts], dtype=object))
        first = {text.entity: text for text in reversed(texts)}
        is_a = np.array([first[name].label == "A" for name in names], dtype=np.bool_)
        train = np.array([first[name].split == "train" for name in names], dtype=np.bool_)
        return cls(code.astype(np.int64), is_a, train)


def unreadable(concept: Concept | None) -> str | None:
    """Why nothing can be said about a concept, or None if something can."""
    if concept is None or not concept.texts:
        return "the suite has no concept texts"
    labels: dict[str, str] = {}
    for text in concept.texts:
        if labels.setdefault(text.entity, text.label) != text.label:
            return f"texts about {text.entity!r} have both labels"
    found = Entities.of(concept)
    for side, name in ((True, "A"), (False, "B")):
        for split, member in (("train", found.train), ("test", ~found.train)):
            count = int((member & (found.is_a == side)).sum())
            if count < MIN_ENTITIES:
                return (
                    f"{count} entities of class {name} in split {split}: at least {MIN_ENTITIES} are needed"
                )
    return None


def concept_rows(
    suite: str,
    concept: Concept,
    base: Reading,
    tuned: Reading,
    effort: Effort,
    *,
    progress: Callable[[int], object] = lambda done: None,
) -> pd.DataFrame:
    """One row per layer and position.

    Args:
        suite: name of the suite that the concept belongs to.
        concept: whose texts were read; see `unreadable`.
        base: the texts in the base.
        tuned: the same in the tuned model, at the same layers and positions.
        effort: counts and seed.
        progress: called with 1 after each row.
    """
    entities = Entities.of(concept)
    dealt = shuffles(
        entities.is_a[entities.train], entities.is_a[~entities.train], effort.shuffles, effort.seed
    )
    rows = []
    with threadpool_limits(limits=1):  # threads slow small matrices down, on a busy machine tenfold
        for p, position in enumerate(base.positions):
            words: Held | None = None
            for k, layer in enumerate(base.layers):
                cell = _Cell(base.x_PLND[p, k], tuned.x_PLND[p, k], entities)
                held = cell.held()
                words = words or held
                place = {"suite": suite, "concept": concept.name, "layer": layer, "position": position}
                rows.append(place | _row(cell, held, words, dealt, effort))
                progress(1)
    return pd.DataFrame(rows)


class Held(NamedTuple):
    """What the LDA probes of one cell say of the held-out entities."""

    base: Probe
    tuned: Probe
    tuned_scores: FloatArray
    """[held-out entities]."""


class _Cell:
    """One layer and position in both models."""

    def __init__(self, base: FloatArray, tuned: FloatArray, entities: Entities) -> None:
        self.is_a = entities.is_a
        whole = [Texts(x.astype(np.float64), entities.code, entities.is_a) for x in (base, tuned)]
        self.base, self.tuned = whole
        self.fit_base, self.fit_tuned = (subset(texts, entities.train) for texts in whole)
        self.test_base, self.test_tuned = (subset(texts, ~entities.train) for texts in whole)

    def held(self) -> Held:
        """The LDA probe of either model."""
        base, tuned = fit_probe(self.fit_base, "lda"), fit_probe(self.fit_tuned, "lda")
        return Held(base, tuned, self.test_tuned.entity_means(tuned.scores(self.test_tuned.x)))


def _row(cell: _Cell, held: Held, words: Held, dealt: Shuffles, effort: Effort) -> dict[str, Any]:
    is_a = cell.test_base.is_a
    null = null_aucs(cell.fit_tuned, cell.test_tuned, dealt)
    others = null_of_others(cell.fit_tuned, cell.test_tuned, dealt, effort.other_shuffles, effort.seed)
    gain = auc_gain(held.tuned_scores, words.tuned_scores, is_a, draws=effort.draws, seed=effort.seed)
    return {
        "auc_cv_base": cross_validated_auc(cell.fit_base, seed=effort.seed),
        **_spread("auc_base", auc_estimate(held.base.auc(cell.test_base), is_a)),
        **_spread("auc_tuned", auc_estimate(held.tuned.auc(cell.test_tuned), is_a)),
        "auc_transfer_bt": held.base.auc(cell.test_tuned),
        "auc_transfer_tb": held.tuned.auc(cell.test_base),
        **dict(_other_probes(cell, effort.seed)),
        "null_mean": float(null.mean()),
        "null_high": float(np.quantile(null, 0.95)),
        "null_aucs": null.tolist(),
        "null_other_aucs": others.tolist(),
        **_spread("embedding_gain", None if words is held else gain),
        **_direction(cell, effort.seed),
    }


def _other_probes(cell: _Cell, seed: int) -> Iterator[tuple[str, float]]:
    kinds: tuple[Kind, Kind] = ("logistic", "mlp")
    sides = (("base", cell.fit_base, cell.test_base), ("tuned", cell.fit_tuned, cell.test_tuned))
    for kind, (side, fit, test) in product(kinds, sides):
        name = "auc_mlp" if (kind, side) == ("mlp", "tuned") else f"auc_{kind}_{side}"
        yield name, fit_probe(fit, kind, seed=seed).auc(test)


def _direction(cell: _Cell, seed: int) -> dict[str, Any]:
    base, tuned = (texts.entity_means(texts.x) for texts in (cell.base, cell.tuned))
    found = compare_directions(base, tuned, cell.is_a, seed=seed)
    return {
        **_spread("cosine", found.cosine),
        "cosine_ceiling": found.ceiling,
        "cosine_corrected": found.corrected_cosine,
        "reliability_base": found.reliability_base,
        "reliability_tuned": found.reliability_tuned,
        **_spread("norm_ratio", found.norm_ratio),
        "norm_ratio_corrected": found.corrected_norm_ratio,
        "variance_ratio": found.variance_ratio,
        "measurable": found.measurable,
    }


def _spread(name: str, found: Estimate | None) -> dict[str, float | None]:
    """An estimate as three columns; an end that the data cannot bound is null."""
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    low, high = (float(end) if np.isfinite(end) else None for end in (found.low, found.high))
    return {name: found.value, f"{name}_low": low, f"{name}_high": high}
