"""What a way back is held against."""

from __future__ import annotations

from typing import Any

import pytest

from audit.calibration import load_thresholds
from audit.evidence.schema.results import LadderEvidence, WayEvidence
from audit.verdict.bars import Bar, bar_of, beyond, path_of

T = load_thresholds().model_copy(
    update={
        "bypass": 0.3, "closed": 0.25, "gates": 0.8, "gates_closed": 0.7, "carried": 0.5, "elsewhere": 0.4,
        "gates_built": 0.75,
    }
)  # fmt: skip


def way(recovered: float | None, low: float | None = None) -> WayEvidence:
    return WayEvidence(what="w", recovered=recovered, low=low, high=None, control=0.0, controls="5 controls",
                       units=3, kl=0.0, skills=1.0, counts=True)  # fmt: skip


def evidence(carried: float | None = 0.9, **ways: WayEvidence) -> LadderEvidence:
    fields: dict[str, Any] = {
        "name": "s", "measurable": True, "moved": "fell", "seen": "it fell", "band": 0.3, "change": -2.0,
        "change_low": None, "change_high": None, "carried": carried, "ways": ways,
    }  # fmt: skip
    return LadderEvidence(**fields)


def test_gates_are_asked_for_more_than_other_ways() -> None:
    assert bar_of("gates", evidence(), T) == Bar(0.8, 0.7, 0.7, path_open=pytest.approx(0.8), path_closed=0.0)
    assert bar_of("internal", evidence(), T) == Bar(0.3, 0.25, 0.25)


@pytest.mark.parametrize(
    ("carried", "path"), [(0.9, "same"), (0.5, "same"), (0.45, "between"), (0.4, "other"), (-0.3, "other"),
                          (None, "unknown")],
)  # fmt: skip
def test_the_path_has_two_thresholds(carried: float | None, path: str) -> None:
    assert path_of(evidence(carried), T) == path
    assert bool(bar_of("gates", evidence(carried), T).why_not) == (path != "same")


def test_along_another_path_gates_may_build_more() -> None:
    assert bar_of("gates", evidence(0.1), T).ceiling == 0.75
    assert bar_of("gates", evidence(0.45), T).ceiling == 0.7
    strict = T.model_copy(update={"gates_built": 0.1})
    assert bar_of("gates", evidence(0.1), strict).ceiling == 0.7, "never less"


def test_the_margin_is_the_thinner_of_effect_and_path() -> None:
    near, far = (bar_of("gates", evidence(carried), T) for carried in (0.55, 1.0))
    assert near.margin_open(way(1.0, 0.98)) == pytest.approx(0.1)
    assert far.margin_open(way(1.0, 0.9)) == pytest.approx(0.5)
    assert far.margin_open(way(1.0, None)) == 0.0
    near, far = (bar_of("gates", evidence(carried), T) for carried in (0.36, 0.0))
    assert near.margin_closed(0.72) == pytest.approx(0.04)
    assert near.margin_closed(0.0) == far.margin_closed(0.0) == 1.0, "at 0 no path is needed"
    assert far.margin_closed(0.72) == pytest.approx(0.04)


def test_beyond_is_a_share_of_the_way_to_the_far_end() -> None:
    assert beyond(0.75, 0.5, 1.0) == 0.5
    assert beyond(0.2, 0.4, 0.0) == 0.5
    assert beyond(0.1, 0.5, 1.0) == 0.0
    assert beyond(2.0, 0.5, 1.0) == 1.0
    assert beyond(1.0, 1.0, 1.0) == 0.0
