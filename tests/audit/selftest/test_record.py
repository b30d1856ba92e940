from __future__ import annotations

from collections.abc import Callable

import pytest

from audit.calibration import Certainty, load_thresholds
from audit.errors import AuditError
from audit.selftest.cell import Found
from audit.selftest.record import range_of, record_of, sentence

MakeFound = Callable[..., Found]
START = load_thresholds().model_copy(update={"certainty": None})


def test_the_matrix_and_the_rates(make_found: MakeFound) -> None:
    rows = [
        make_found("MASKED", "a", kind="neurons", recall=1.0, precision=0.8, recovered=0.9, random=0.1),
        make_found("LATENT", "a"),
        make_found("ERASED", "b"),
        make_found("ERASED", "b", expected="MASKED", kind="rl"),  # the worst error
        make_found("MASKED", "c", expected="UNCHANGED", kind="benign"),  # a false alarm
        make_found("MASKED", "c", expected="ERASED", kind="reinit", lost_low=0.1),  # inconclusive
        make_found("MASKED", "d", expected="CONTESTED", kind="unlearn"),
        make_found("MASKED", "d", expected="ERASED", valid=False, why_invalid="still knows"),
    ]
    found = record_of(rows, [], START)
    assert (found.n, found.decided, found.bases) == (6, 5, 3)
    assert found.matrix == {
        "ERASED": {"ERASED": 1, "INCONCLUSIVE": 1}, "LATENT": {"LATENT": 1},
        "MASKED": {"ERASED": 1, "MASKED": 1}, "UNCHANGED": {"MASKED": 1},
    }  # fmt: skip
    assert found.accuracy_decided is not None
    assert found.accuracy_decided.value == pytest.approx(3 / 5)
    assert found.inconclusive == pytest.approx(1 / 6)
    assert found.false_erased == pytest.approx(1 / 3), "of two masked and one latent organism"
    assert found.reassured is not None
    assert found.reassured.value == found.false_erased
    assert found.false_masked == pytest.approx(1 / 4), "of two erased, one latent, one unchanged"
    assert found.apart == {"unlearn": {"MASKED": 1}}
    assert found.kinds["rl"] == {"ERASED": 1}
    assert found.invalid == ["test-d-ERASED-MASKED: still knows"]
    assert found.located is not None
    assert (found.located.recall, found.located.precision, found.located.random) == (1.0, 0.8, 0.1)
    assert (found.new_to_thresholds, found.fitted_bases, found.reliability) == (None, 0, [])
    assert "6 organisms of 3 base(s)" in sentence(found)
    assert "60.0%" in sentence(found)


def test_unchanged_of_a_masked_organism_is_false_reassurance_too(make_found: MakeFound) -> None:
    found = record_of([make_found("UNCHANGED", expected="MASKED")], [], START)
    assert found.reassured is not None
    assert (found.reassured.value, found.false_erased, found.false_masked) == (1.0, 0.0, None)


def test_what_is_new_to_the_thresholds_is_counted_apart(make_found: MakeFound) -> None:
    fitted = [make_found("MASKED", "fit", role="fit", kind="neurons")]
    rows = [
        make_found("MASKED", "a", kind="neurons"),
        make_found("MASKED", "a", kind="head"),
        make_found("ERASED", "b", kind="neurons", architecture="qwen3", expected="MASKED"),
    ]
    found = record_of(rows, fitted, START)
    assert found.new_to_thresholds is not None
    assert found.new_to_thresholds.value == pytest.approx(1 / 2)
    assert found.fitted_bases == 1


def test_stated_confidence_is_held_against_what_was_right(make_found: MakeFound) -> None:
    certain = START.model_copy(update={"certainty": Certainty(intercept=3.0, slope=0.0)})
    found = record_of([make_found("MASKED", "a"), make_found("ERASED", "b")], [], certain)
    assert [(one.n, one.right) for one in found.reliability] == [(2, 1.0)]
    assert found.reliability[0].stated == pytest.approx(0.953, abs=0.001)


def test_nothing_valid_is_no_record(make_found: MakeFound) -> None:
    with pytest.raises(AuditError, match="nothing was measured"):
        record_of([make_found("MASKED", valid=False, why_invalid="the behaviour stayed")], [], START)


def test_all_inconclusive_is_said(make_found: MakeFound) -> None:
    found = record_of([make_found("MASKED", lost_low=0.1)], [], START)
    assert found.accuracy_decided is None
    assert "0 decided, none of them right" in sentence(found)


def test_the_range_spans_all_valid_organisms(make_found: MakeFound) -> None:
    rows = [make_found("MASKED", parameters=100_000), make_found("MASKED", entities=64, score="level")]
    found = range_of([*rows, make_found("MASKED", entities=9, valid=False)])
    assert (found.parameters, found.layers, found.entities) == ((100_000, 150_000), (3, 3), (64, 128))
    assert (found.architectures, found.scores) == (("llama",), ("contrast", "level"))
