"""Rows of a concept from planted activations: kept, moved, gone, and what the summary says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.behaviours.suite import Concept, ConceptText
from audit.directions.cells import Effort, Entities, concept_rows, unreadable
from audit.directions.read import EMBEDDINGS, Reading
from audit.directions.summary import carried, chosen, decodable, highest_null, highest_null_all, summarise
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import ConceptDirections

EFFORT = Effort(shuffles=20, other_shuffles=4, draws=300, seed=0)
ENTITIES, TEXTS, WIDTH = 40, 3, 24
Array = np.ndarray[Any, np.dtype[np.float64]]


def concept(entities: int = ENTITIES, **change: Any) -> Concept:
    texts = tuple(
        ConceptText(
            text=f"text {i} of e{e}",
            entity=f"e{e}",
            label=("A", "B")[e % 2],
            split="train" if e < entities // 2 else "test",
        )
        for e in range(entities)
        for i in range(TEXTS)
    )
    return Concept(name="planted", label_a="a", label_b="b", texts=change.get("texts", texts))


def reading(seed: int, *signals: float, own: Array | None = None) -> Reading:
    """One position; a layer per signal, each the class along its own axis plus what the entity shares."""
    rng = np.random.default_rng(seed)
    side = np.where(np.arange(ENTITIES) % 2 == 0, 0.5, -0.5)
    shared = np.random.default_rng(99).normal(size=(ENTITIES, WIDTH)) if own is None else own
    spread = np.ones(WIDTH) / np.sqrt(WIDTH)
    rows = [shared + signal * np.outer(side, spread) for signal in signals]
    x = np.stack([row.repeat(TEXTS, axis=0) for row in rows])
    x = x + 0.3 * rng.normal(size=x.shape)
    return Reading(x[None], ("last",), (EMBEDDINGS, *range(len(signals) - 1)), 0)


@pytest.fixture(scope="module")
def kept() -> pd.DataFrame:
    return concept_rows("suite", concept(), reading(0, 0.0, 2.0, 9.0), reading(1, 0.0, 2.0, 9.0), EFFORT)


@pytest.fixture(scope="module")
def gone() -> pd.DataFrame:
    return concept_rows("suite", concept(), reading(0, 0.0, 9.0), reading(1, 0.0, 0.0), EFFORT)


def known() -> ConceptDirections:
    return ConceptDirections(suite="suite", concept="planted", entities_train=20, entities_test=20)


def test_rows_fit_the_table(kept: pd.DataFrame) -> None:
    assert TABLES["directions"].to_arrow(kept).num_rows == 3
    assert kept["layer"].tolist() == [-1, 0, 1]


def test_knowledge_that_was_kept_is_decodable_and_beyond_the_words(kept: pd.DataFrame) -> None:
    found = summarise(known(), kept)
    assert found.chosen is not None
    assert found.chosen.layer == 1
    assert (found.decodable, found.base_decodable, found.everywhere_at_chance) == ("yes", "yes", False)
    assert found.layers_beyond_words[-1:] == [1]
    assert min(found.chosen.auc_transfer_bt, found.chosen.auc_transfer_tb) > 0.9
    assert found.chosen.cosine_corrected == pytest.approx(1, abs=0.05)
    assert found.chosen.norm_ratio_corrected == pytest.approx(1, abs=0.05)
    assert found.chosen.measurable


def test_knowledge_that_is_gone_is_at_chance_everywhere(gone: pd.DataFrame) -> None:
    found = summarise(known(), gone)
    assert (found.decodable, found.base_decodable, found.everywhere_at_chance) == ("no", "yes", True)
    assert found.chosen is not None
    assert not found.chosen.measurable
    assert found.chosen.cosine_corrected is None
    assert found.layers_beyond_words == []


def test_knowledge_in_one_layer_only_is_not_everywhere_at_chance() -> None:
    """It moved away from where the base kept it, and is found there."""
    rows = concept_rows("suite", concept(), reading(0, 0.0, 9.0, 2.0), reading(1, 0.0, 0.0, 9.0), EFFORT)
    found = summarise(known(), rows)
    assert found.chosen is not None
    assert found.chosen.layer == 0
    assert (found.decodable, found.everywhere_at_chance) == ("no", False)


def test_what_the_base_never_knew_cannot_be_lost() -> None:
    rows = concept_rows("suite", concept(), reading(0, 0.0, 0.0), reading(1, 0.0, 0.0), EFFORT)
    found = summarise(known(), rows)
    assert found.base_decodable != "yes"
    assert found.everywhere_at_chance is None


def test_a_cell_is_chosen_by_the_base_and_never_by_held_out_entities(kept: pd.DataFrame) -> None:
    lured = kept.assign(auc_tuned=[0.5, 1.0, 0.5], auc_base=[0.5, 1.0, 0.5])
    assert chosen(lured)["layer"] == 1
    assert chosen(kept.assign(auc_cv_base=[1.0, 0.7, 0.7]))["layer"] == 0, "the earliest block of equals"


@pytest.mark.parametrize(
    ("auc", "low", "null", "word"),
    [
        (0.95, 0.80, 0.7, "yes"),
        (0.95, 0.65, 0.7, "between"),
        (0.95, None, 0.7, "between"),
        (0.80, 0.75, 0.7, "between"),
        (0.60, 0.40, 0.7, "no"),
        (0.62, 0.40, 0.6, "between"),
        (0.10, 0.01, 0.7, "no"),
    ],
)
def test_the_words_for_decodable(auc: float, low: float | None, null: float, word: str) -> None:
    row = pd.Series({"auc_tuned": auc, "auc_tuned_low": low, "null_high": null})
    assert decodable(row, "auc_tuned") == word


def test_the_highest_null_is_of_maxima_over_cells() -> None:
    rows = pd.DataFrame({"null_aucs": [[0.1, 0.9, 0.2], [0.8, 0.1, 0.2]]})
    assert highest_null(rows) == pytest.approx(np.quantile([0.8, 0.9, 0.2], 0.95))


def test_the_highest_null_of_all_probes_is_of_the_shuffles_that_all_were_fit_to() -> None:
    lda = [[0.1, 0.9, 0.2], [0.8, 0.1, 0.2]]
    rows = pd.DataFrame({"null_aucs": lda, "null_other_aucs": [[0.7, 0.3], [0.2, 0.95]]})
    assert highest_null_all(rows) == pytest.approx(np.quantile([0.8, 0.95], 0.95))
    assert highest_null_all(rows.assign(null_other_aucs=[[], []])) is None


def test_entities_keep_class_and_split() -> None:
    found = Entities.of(concept())
    assert found.code.tolist() == np.repeat(np.arange(ENTITIES), TEXTS).tolist()
    assert found.is_a.tolist() == [e % 2 == 0 for e in range(ENTITIES)]
    assert found.train.tolist() == [e < 20 for e in range(ENTITIES)]


def test_concepts_that_cannot_be_measured_say_why() -> None:
    assert unreadable(None) == "the suite has no concept texts"
    assert unreadable(concept(texts=())) == "the suite has no concept texts"
    few = unreadable(concept(entities=12))
    assert few == "3 entities of class A in split train: at least 4 are needed"
    texts = concept().texts
    both = concept(texts=(*texts, texts[0].model_copy(update={"label": "B"})))
    assert unreadable(both) == "texts about 'e0' have both labels"
    assert unreadable(concept()) is None


def test_a_class_that_runs_along_another_direction_is_carried_elsewhere(
    kept: pd.DataFrame, gone: pd.DataFrame
) -> None:
    same = summarise(known(), kept).carried
    assert same is not None
    assert (same.layer, same.position) == (1, "last")
    assert same.cosine is not None
    assert same.cosine.value > 0.95
    turned = np.zeros((ENTITIES, WIDTH))
    turned[:, 0] = np.where(np.arange(ENTITIES) % 2 == 0, 4.5, -4.5)
    own = np.random.default_rng(98).normal(size=(ENTITIES, WIDTH)) + turned
    rows = concept_rows("suite", concept(), reading(0, 0.0, 9.0), reading(1, 0.0, 0.0, own=own), EFFORT)
    other = summarise(known(), rows).carried
    assert other is not None
    assert other.auc_tuned.value > 0.95
    assert other.cosine is not None
    assert abs(other.cosine.value) < 0.45
    assert summarise(known(), gone).carried is None, "a direction that is gone cannot be compared"
    assert carried(kept.assign(position="entity")) is None
