"""What counts as a changed behaviour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.behaviours.files import read_suite
from audit.config import CompareConfig
from audit.evidence.schema.documents import Estimate
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.stages import behaviour
from audit.stages.changed import changed, unchanged

Make = Callable[..., Path]


def equal_models(model: Path, suite: Path) -> AuditInputs:
    side = resolve(str(model), LoadOptions())
    config = CompareConfig(base=str(model), tuned=str(model), preset="quick")
    return AuditInputs(config, side, side, compare(side, side), (read_suite(suite),))


@pytest.mark.parametrize(
    ("change", "q_value", "measurable", "why"),
    [
        ((-2.0, -3.0, -1.0), 0.01, True, None),
        ((2.0, 1.0, 3.0), None, True, None),
        ((-0.2, -0.3, -0.1), 0.01, True, "equivalence band"),
        ((-2.0, -5.0, 1.0), 0.01, True, "equivalence band"),
        ((-2.0, None, None), 0.01, True, "equivalence band"),
        ((-2.0, -3.0, -1.0), 0.2, True, "equivalence band"),
        ((-2.0, -3.0, -1.0), 0.01, False, "not measurable"),
    ],
)
def test_what_counts_as_changed(
    tiny_model: Make, tiny_suite: Make, tmp_path: Path, change: Any, q_value: Any, measurable: bool, why: Any
) -> None:
    audit = equal_models(tiny_model(), tiny_suite(entities=16, score="level", contrast=None))
    found = behaviour.run(audit, StageFolder(tmp_path / "behaviour", "key"))
    suite = found.suites[0]
    value, low, high = change
    estimate = Estimate(value=value, low=low, high=high, n=8)
    primary = suite.primary.model_copy(update={"change": estimate, "q_value": q_value})
    templates = [primary if t is suite.primary else t for t in suite.templates]
    suite = suite.model_copy(update={"templates": templates, "measurable": measurable})
    said = unchanged(suite)
    assert said is None if why is None else why in str(said)
    listed = changed(audit, found.model_copy(update={"suites": [suite]}))
    assert [(one.name, one.change) for one in listed] == ([("tiny", value)] if why is None else [])
    assert changed(audit, None) == []
