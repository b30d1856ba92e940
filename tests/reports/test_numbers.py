"""Numbers as they are printed."""

from __future__ import annotations

import math

import pytest

from audit.evidence.schema.documents import Claim, Estimate, Evidence
from reports.numbers import claimed, estimate, interval, number, share, size


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (None, "not measured"), (True, "yes"), (False, "no"), (0, "0"), (25.0, "25"),
        (134515008, "134,515,008"),
        (-2.376123, "\N{MINUS SIGN}2.376"), (6.948e-06, "6.948e\N{MINUS SIGN}06"), (0.5, "0.5"),
        (math.inf, "not measured"),
        (math.nan, "not measured"), (1e300, "1e+300"), (-0.0, "0"),
    ],
)  # fmt: skip
def test_numbers(value: float | int | None, printed: str) -> None:
    assert number(value) == printed


def test_intervals_say_where_the_data_cannot_bound() -> None:
    assert interval(None, 1.0) == "[\N{MINUS SIGN}∞, 1]"
    assert interval(-0.25, None) == "[\N{MINUS SIGN}0.25, ∞]"
    assert estimate(Estimate(value=1.5, low=1.0, high=2.0, n=3)) == "1.5 [1, 2]"
    assert estimate(None) == "not measured"


def test_a_claim_prints_its_value_and_its_interval() -> None:
    evidence = Evidence(file="stages/x/result.json", sha256="0" * 64, pointer="/x")
    assert (
        claimed(Claim(id="a", statement="s", value=0.75, low=0.5, high=1.0, evidence=evidence))
        == "0.75 [0.5, 1]"
    )
    assert claimed(Claim(id="a", statement="s", value="MASKED", evidence=evidence)) == "MASKED"
    assert claimed(Claim(id="a", statement="s", value=None, evidence=evidence)) == "not measured"


def test_shares_and_sizes() -> None:
    assert share(0.1234) == "12.3 %"
    assert share(-0.01) == "\N{MINUS SIGN}1.0 %"
    assert share(None) == "not measured"
    assert (size(2048), size(3 * 2**20)) == ("2.0 KiB", "3.0 MiB")
