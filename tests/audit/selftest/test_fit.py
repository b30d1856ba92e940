from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audit.calibration import Thresholds, load_thresholds
from audit.selftest.cell import Found
from audit.selftest.certainty import certainty_of, platt, reliability
from audit.selftest.fit import FALSE_REASSURANCE, STEP, WRONG, cost, fit, price
from audit.verdict import decide

MakeFound = Callable[..., Found]
START = load_thresholds()


def test_false_reassurance_is_the_dearest_error() -> None:
    assert price("MASKED", "MASKED") == 0
    assert price("ERASED", "INCONCLUSIVE") < price("ERASED", "MASKED") == WRONG
    assert price("MASKED", "ERASED") == price("LATENT", "UNCHANGED") == FALSE_REASSURANCE > WRONG


@pytest.mark.parametrize("shown", ["MASKED", "LATENT", "ERASED", "UNCHANGED"])
def test_the_invented_rows_are_what_they_are_called(make_found: MakeFound, shown: str) -> None:
    assert decide(make_found(shown).evidence, START).verdict == shown


def test_a_planted_threshold_is_found_in_the_middle_of_its_gap(make_found: MakeFound) -> None:
    """Masked children lie at probe AUCs from .84 up, others that hold too little at .78 and below."""
    rows = [
        make_found("MASKED", f"base-{n}", known=auc, anywhere=auc)
        for n, auc in enumerate((0.84, 0.88, 0.95, 1.0))
    ]
    rows += [
        make_found("MASKED", f"base-{n}", expected="UNCHANGED", known=auc, anywhere=auc)
        for n, auc in enumerate((0.7, 0.74, 0.78))
    ]
    fitted = fit(rows, START)
    assert cost(rows, fitted) < cost(rows, START)
    assert fitted.known == pytest.approx(0.81, abs=STEP)
    assert [decide(row.evidence, fitted).verdict for row in rows[:4]] == ["MASKED"] * 4


def test_what_no_organism_bounds_keeps_its_start(make_found: MakeFound) -> None:
    rows = [make_found(shown) for shown in ("MASKED", "LATENT", "ERASED", "UNCHANGED")]
    fitted = fit(rows, START)
    assert cost(rows, fitted) == 0
    assert fitted.numbers == START.numbers


def test_neither_invalid_nor_contested_organisms_are_fitted_on(make_found: MakeFound) -> None:
    rows = [make_found("MASKED", expected="CONTESTED"), make_found("MASKED", expected="ERASED", valid=False)]
    assert fit(rows, START) == START


class TestCertainty:
    def test_platt_recovers_planted_probabilities(self) -> None:
        rng = np.random.default_rng(3)
        margins = rng.uniform(0, 1, 4000)
        right = rng.random(4000) < 1 / (1 + np.exp(-(0.5 + 4 * margins)))
        found = platt(margins.tolist(), right.tolist())
        assert found is not None
        assert (found.intercept, found.slope) == pytest.approx((0.5, 4.0), rel=0.2)

    def test_a_perfect_record_is_not_called_certain(self) -> None:
        found = platt([0.2, 0.5, 0.9], [True] * 3)
        assert found is not None
        assert found.of(0.9) < 0.9, "three right verdicts prove little"

    def test_a_margin_that_misleads_has_no_slope(self) -> None:
        found = platt([0.1] * 20 + [0.9] * 20, [True] * 20 + [False] * 20)
        assert found is not None
        assert found.slope == 0
        assert found.of(0.9) == pytest.approx(0.5)

    def test_without_verdicts_there_is_none(self, make_found: MakeFound) -> None:
        assert platt([], []) is None
        assert certainty_of([make_found("MASKED", "only")], START) is None

    def test_each_base_is_judged_by_thresholds_of_the_others(
        self, make_found: MakeFound, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[set[str]] = []

        def watched(rows: list[Found], start: Thresholds) -> Thresholds:
            seen.append({row.base for row in rows})
            return start

        monkeypatch.setattr("audit.selftest.certainty.fit", watched)
        rows: list[Any] = [make_found("MASKED", base) for base in ("a", "b", "c")]
        found = certainty_of(rows, START)
        assert seen == [{"b", "c"}, {"a", "c"}, {"a", "b"}]
        assert found is not None
        assert 0.5 < found.of(1.0) < 1

    def test_the_diagram_counts_each_verdict_once(self) -> None:
        stated = [0.55, 0.6, 0.97, 0.96, 1.0, 0.0]
        bins = reliability(stated, [True, False, True, True, True, False])
        assert [(one.n, one.right) for one in bins] == [(1, 0.0), (2, 0.5), (2, 1.0), (1, 1.0)]
        assert bins[1].stated == pytest.approx(0.575)
        assert all(one.low <= one.right <= one.high for one in bins)
        assert reliability([], []) == []
