"""The stage on a planted mask: it comes back, classes never had stay down, what cannot be taught says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from audit.behaviours.files import read_suite
from audit.config import CompareConfig
from audit.evidence.files import read_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import BehaviourRelearning, BehaviourResult, RelearnResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.stages import behaviour, relearn

Make = Callable[..., Path]


class Stages:
    """The stages up to this one, as the pipeline runs them; the child is the base with other weights."""

    def __init__(self, base: Path, tuned: Path, suite: Path, out: Path) -> None:
        self.out = out
        sides = [resolve(str(one), LoadOptions()) for one in (base, tuned)]
        config = CompareConfig(base=str(base), tuned=str(tuned), preset="quick")
        self.audit = AuditInputs(config, sides[0], sides[1], compare(*sides), (read_suite(suite),))
        self.behaviours: BehaviourResult = behaviour.run(self.audit, self.folder("behaviour"))

    def folder(self, name: str) -> StageFolder:
        (self.out / name).mkdir(parents=True, exist_ok=True)
        return StageFolder(self.out / name, "key")

    def taught(self) -> RelearnResult:
        return relearn.run(self.audit, self.folder("relearn"), self.behaviours)


@pytest.fixture
def stages(tiny_preset: Any, tiny_model: Make, tiny_suite: Make, tmp_path: Path,
           monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stages]:  # fmt: skip
    tiny_preset(relearn_steps=(2, 6), relearn_controls=2)
    monkeypatch.setattr(relearn, "unchanged", lambda result: None)

    def make(**card: Any) -> Stages:
        models = (tiny_model(seed=0, name="base"), tiny_model(seed=1, name="child"))
        return Stages(*models, tiny_suite(entities=16, **card), tmp_path / "run")

    return make


def test_doses_controls_and_rows_agree(stages: Callable[..., Stages]) -> None:
    run = stages()
    result = run.taught()
    (found,) = result.behaviours
    rows = read_table(run.out / "relearn" / "relearning.parquet", TABLES["relearning"])
    assert [dose.steps for dose in found.doses] == [2, 6]
    assert all(len(dose.controls) == 2 for dose in found.doses)
    assert found.controls_wanted == 2
    assert found.items == 24
    assert found.entities == 8
    assert found.weaker is None
    assert set(rows["arm"]) == {"behaviour", "control"}
    own = rows[(rows["arm"] == "behaviour") & (rows["steps"] == 6)].iloc[0]
    last = found.doses[-1]
    assert last.recovered is not None
    assert last.recovered.value == own["recovered"]
    assert last.recovered_fit == own["recovered_fit"]
    assert last.control == rows[(rows["arm"] == "control") & (rows["steps"] == 6)]["recovered"].max()
    assert last.recovered_fit is not None
    assert found.doses[0].recovered_fit is not None
    assert last.recovered_fit > found.doses[0].recovered_fit
    change = run.behaviours.suites[0].primary.change.value
    assert found.lacking == ("base" if change > 0 else "tuned")


def test_a_killed_stage_goes_on_with_the_part_it_finished(
    stages: Callable[..., Stages], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stages()
    first = run.taught()

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("taught again")

    monkeypatch.setattr("audit.causal.relearn.relearned", never)
    assert run.taught() == first


def test_of_a_level_and_of_single_items_it_says_less(stages: Callable[..., Stages]) -> None:
    (found,) = stages(score="level", contrast=None).taught().behaviours
    assert found.weaker == relearn.LEVEL
    run = stages()
    suite = run.audit.suites[0]
    single = suite.model_copy(update={"items": tuple(i for i in suite.items if i.id.endswith("-0"))})
    assert relearn.describe(run.audit, single, run.behaviours.suites[0]).weaker == relearn.SINGLE


def test_without_steps_nothing_is_taught(stages: Callable[..., Stages], tiny_preset: Any) -> None:
    tiny_preset(relearn_steps=())
    run = stages()
    (found,) = run.taught().behaviours
    assert found.not_tried == relearn.NO_STEPS.format(preset="quick")
    assert read_table(run.out / "relearn" / "relearning.parquet", TABLES["relearning"]).empty


def test_what_did_not_change_has_nothing_to_teach(
    stages: Callable[..., Stages], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relearn, "unchanged", lambda result: "it did not change")
    (found,) = stages().taught().behaviours
    assert found.not_tried == "it did not change"
    assert found.doses == []


def test_a_training_that_broke_the_model_is_no_recovery() -> None:
    known = BehaviourRelearning(name="s", template="plain", lacking="tuned", entities=8)
    columns = {column.name: None for column in TABLES["relearning"].columns}
    rows = pd.DataFrame([{**columns, "arm": "behaviour", "steps": 10, "items": 24}])
    (dose,) = relearn.summarise(known, rows).doses
    assert dose.recovered is None
    assert dose.recovered_fit is None
    assert dose.control is None
