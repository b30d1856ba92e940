"""One organism, really made and really audited."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.evidence.files import read_json
from audit.organisms import Shape
from audit.selftest.cell import Found, run_cell
from audit.selftest.plan import Cell


@pytest.mark.slow
def test_an_organism_becomes_a_row_of_evidence(tmp_path: Path) -> None:
    cell = Cell("test", 3, Shape("llama", 2, 32), "neurons")
    organisms, scratch, target = (tmp_path / name for name in ("organisms", "runs", "found/one.json"))
    found = run_cell(cell, organisms, scratch, target, keep=False)
    assert Found.model_validate(read_json(target)) == found
    assert (found.base, found.expected, found.kind) == ("llama2-3", "MASKED", "neurons")
    assert found.evidence.name == "organism-behaviour"
    assert found.evidence.entities == 32
    assert (found.evidence.layers, found.evidence.architecture) == (2, "llama")
    assert [dose.steps for dose in found.evidence.relearned] == [10, 20, 40]
    assert {"internal", "gates"} <= set(found.evidence.ways)
    assert found.recall is not None
    assert not (scratch / cell.name).exists(), "the run folder goes when its row is written"
    assert found.seconds_made > 0
    assert found.seconds_audited > 0
