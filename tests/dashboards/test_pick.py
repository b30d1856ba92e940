"""Choices in the address, and rows of facts."""

from __future__ import annotations

import pytest

from audit.evidence.schema.documents import Estimate
from dashboards.charts.marks import WORD, interval_text, names
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


def test_long_names_keep_what_tells_them_apart() -> None:
    one, other = names([f"{'x' * 500}, test", f"{'x' * 500}, all"])
    assert one != other
    assert len(one) <= WORD
    assert names(["<b>short</b>"]) == ["&lt;b&gt;short&lt;/b&gt;"]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((None, 0, 1), "not measured"),
        ((0.5, None, 1.0), "0.5 [-inf, 1]"),
        ((0.5, 0.1, float("nan")), "0.5 [0.1, inf]"),
    ],
)
def test_an_interval_in_a_hover_box(numbers: tuple[float | None, float, float], text: str) -> None:
    assert interval_text(*numbers) == text
