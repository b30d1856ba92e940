"""Choices in the address, and rows of facts."""

from __future__ import annotations

import pytest

from audit.evidence.schema.documents import Estimate
from dashboards.facts import said
from dashboards.pick import _fits


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        (["plain", "few-shot 4"], True),
        (["a", "[x](http://y)"], False),
        (["a", ":red[b]"], False),
        (["a", "*b*"], False),
        (["", "a"], False),
        ([str(i) for i in range(7)], False),
        (["a" * 60, "b" * 40], False),
    ],
)
def test_only_few_plain_words_become_buttons(options: list[str], fits: bool) -> None:
    assert _fits(options) is fits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not measured"), (float("nan"), "not measured"), (0.12345, "0.123"), ("word", "word"),
        (Estimate(value=2.0, low=1.0, high=None, n=3), "2"), (0, "0"),
    ],
)  # fmt: skip
def test_a_fact_without_a_number_is_not_measured(value: Estimate | float | str | None, text: str) -> None:
    assert said(value) == text
