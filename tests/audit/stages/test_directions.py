"""The stage on tiny models: concepts read in both, parts that survive, concepts that cannot be measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.behaviours.files import read_suite
from audit.config import CompareConfig
from audit.directions import cells
from audit.evidence.files import read_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import DirectionsResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.stages import directions

Make = Callable[..., Path]
FEW_NAMES = ("nurse", "doctor", "engineer", "teacher", "tax", "party", "system", "user")


def inputs(base: object, tuned: object, *suites: Path, **settings: Any) -> AuditInputs:
    sides = [resolve(str(reference), LoadOptions()) for reference in (base, tuned)]
    config = CompareConfig(base=str(base), tuned=str(tuned), preset="quick", **settings)
    read = tuple(read_suite(suite) for suite in suites)
    return AuditInputs(config, sides[0], sides[1], compare(*sides), read)


def measured(audit: AuditInputs, out: Path) -> tuple[DirectionsResult, Any]:
    out.mkdir(exist_ok=True)
    result = directions.run(audit, StageFolder(out, "key"))
    return result, read_table(out / "directions.parquet", TABLES["directions"])


def test_an_adapter_pair_is_read_side_by_side(
    with_concept: Make, tiny_model: Make, tiny_adapter: Make, tiny_suite: Make, tmp_path: Path
) -> None:
    base = tiny_model()
    audit = inputs(base, f"{base}+{tiny_adapter(base)}", with_concept(tiny_suite()))
    result, table = measured(audit, tmp_path / "out")
    found = result.concepts[0]
    assert (found.suite, found.concept, found.entities_train, found.entities_test) == ("tiny", "kind", 8, 8)
    assert found.chosen is not None
    assert found.positions == ["entity", "last"]
    assert (found.texts, found.texts_without_entity) == (32, 0)
    assert table["layer"].tolist() == [-1, 0, 1] * 2
    words = table.loc[table.layer == -1, "cosine"].tolist()
    assert words == pytest.approx([1.0, 1.0]), "no adapter on the embeddings"
    assert (table.loc[table.layer == 1, "cosine"] < 1).all()
    assert DirectionsResult.model_validate_json(result.model_dump_json()) == result


def test_a_model_against_itself_keeps_every_direction(
    with_concept: Make, tiny_model: Make, tiny_suite: Make, tmp_path: Path
) -> None:
    model = tiny_model()
    result, table = measured(inputs(model, model, with_concept(tiny_suite())), tmp_path / "out")
    assert table["cosine"].tolist() == pytest.approx([1.0] * 6)
    assert table["norm_ratio"].tolist() == pytest.approx([1.0] * 6)
    assert table["auc_base"].tolist() == table["auc_tuned"].tolist() == table["auc_transfer_bt"].tolist()
    assert result.shuffles == directions.SHUFFLES["quick"]


def test_what_cannot_be_measured_is_reported(
    tiny_model: Make, tiny_suite: Make, tmp_path: Path, with_concept: Make
) -> None:
    without, few = tiny_suite("without"), with_concept(tiny_suite("few"), FEW_NAMES)
    result, table = measured(inputs(tiny_model(), tiny_model(), without, few), tmp_path / "out")
    assert table.empty
    assert [found.concept for found in result.concepts] == [None, "kind"]
    assert [found.decodable for found in result.concepts] == ["unknown", "unknown"]
    assert result.concepts[0].unreadable == "the suite has no concept texts"
    assert result.concepts[1].unreadable == "2 entities of class A in split train: at least 4 are needed"


def test_a_killed_stage_goes_on_where_it_was(
    with_concept: Make, tiny_model: Make, tiny_suite: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suites = with_concept(tiny_suite("one")), with_concept(tiny_suite("two"))
    audit = inputs(tiny_model(seed=0), tiny_model(seed=1), *suites)
    original, asked = cells.concept_rows, []

    def stop(suite: str, *rest: Any, **more: Any) -> Any:
        asked.append(suite)
        if asked == ["one", "two"]:
            raise KeyboardInterrupt
        return original(suite, *rest, **more)

    monkeypatch.setattr(cells, "concept_rows", stop)
    with pytest.raises(KeyboardInterrupt):
        measured(audit, tmp_path / "stopped")
    again = measured(audit, tmp_path / "stopped")[0]
    assert asked == ["one", "two", "two"]
    assert again == measured(audit, tmp_path / "straight")[0]


def test_layers_by_preset() -> None:
    assert directions.layers_of(30, "quick") == (0, 5, 10, 15, 20, 25, 29)
    assert directions.layers_of(12, "quick") == (0, 2, 4, 6, 8, 10, 11)
    assert directions.layers_of(30, "standard") == (*range(0, 30, 2), 29)
    assert directions.layers_of(30, "deep") == tuple(range(30))
    assert directions.layers_of(2, "quick") == (0, 1)
    assert directions.layers_of(1, "quick") == (0,)
