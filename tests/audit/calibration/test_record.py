"""The committed thresholds and their record are what the committed rows of evidence give."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.calibration import load_thresholds
from audit.selftest.record import range_of, record_of, sentence
from audit.selftest.rows import Rows, read_rows
from audit.selftest.run import calibrated

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def rows() -> Rows:
    return read_rows(DOCS / "calibration" / "evidence.json")


def test_fitting_again_gives_the_committed_thresholds(rows: Rows) -> None:
    committed = load_thresholds()
    fitted = calibrated([one for one in rows.organisms if one.role == "fit"], committed)
    assert fitted.numbers == committed.numbers
    assert fitted.certainty == committed.certainty
    assert committed.range == range_of(rows.organisms)


def test_counting_again_gives_the_committed_record(rows: Rows) -> None:
    committed = load_thresholds()
    roles = {role: [one for one in rows.organisms if one.role == role] for role in ("fit", "test")}
    found = record_of(roles["test"], roles["fit"], committed)
    assert committed.record == found.model_copy(update={"record": sentence(found), "command": rows.command})


def test_no_base_of_the_record_was_fitted_on(rows: Rows) -> None:
    bases = {role: {one.base for one in rows.organisms if one.role == role} for role in ("fit", "test")}
    assert bases["fit"]
    assert not bases["fit"] & bases["test"]


def test_the_page_on_verdicts_prints_the_record() -> None:
    committed = load_thresholds()
    assert committed.record is not None
    page = (DOCS / "verdicts.md").read_text(encoding="utf-8")
    assert committed.record.record in page
    assert committed.record.command in page
