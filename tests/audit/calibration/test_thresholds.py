"""The committed thresholds, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit.calibration import FILE, Certainty, load_thresholds
from audit.errors import RunFolderError


def test_the_committed_file_is_sound() -> None:
    t = load_thresholds()
    assert 0 < t.closed <= t.bypass < t.localised_share <= 1
    assert t.gates_closed <= t.gates
    assert t.elsewhere <= t.carried < 1
    assert t.chance < t.known <= 1
    assert t.relearn_slow <= t.relearn
    assert t.relearn_steps < t.relearn_most
    assert "fitted" not in t.numbers
    assert t.numbers["known"] == t.known
    assert t.calibration
    assert t.confidence(None) is None


def test_certainty_rises_with_the_margin() -> None:
    certainty = Certainty(intercept=0.0, slope=2.0)
    assert certainty.of(0.0) == 0.5
    assert certainty.of(0.2) < certainty.of(0.9) < 1


def test_a_file_that_holds_no_thresholds_says_which_field(tmp_path: Path) -> None:
    fields = json.loads(FILE.read_text(encoding="utf-8"))
    del fields["bypass"]
    (tmp_path / "t.json").write_text(json.dumps(fields))
    with pytest.raises(RunFolderError, match="bypass"):
        load_thresholds(tmp_path / "t.json")
    with pytest.raises(RunFolderError):
        load_thresholds(tmp_path / "none.json")
