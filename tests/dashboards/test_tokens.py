"""Coloured tokens: the one place where text of a model meets HTML."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from dashboards.tokens import token_strip

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</span></div><iframe src=//evil>",
    "&lt;b&gt;",
    "\u202e\x00\x1b[2J",
    "{{7*7}}",
]


class Reader(HTMLParser):
    """Collects what a browser would make of the HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


@pytest.mark.parametrize("token", HOSTILE)
def test_hostile_tokens_stay_text(token: str) -> None:
    found = read(token_strip([token], [1.0], [0.5], 0, 1.0))
    assert found.tags == {"div", "span"}
    assert found.attributes == {"style", "title"}
    assert found.text.startswith("base")
    assert "\x00" not in found.text
    assert "\u202e" not in found.text


def test_the_text_is_shown_as_it_is() -> None:
    found = read(token_strip(["<b>", " nurse"], [0.0, 0.0], [0.0, 0.0], 1, 1.0))
    assert found.text.replace("\xa0", " ") == "base<b> nursetuned<b> nurse"


def test_stronger_activations_are_darker_and_silence_has_no_colour() -> None:
    html = token_strip(["a", "b", "c"], [0.0, 1.0, 2.0], [0.0] * 3, 0, 2.0)
    assert html.count("background") == 2
    assert "0.31)" in html
    assert "0.62)" in html
    assert html.count("border-bottom") == 2


@pytest.mark.parametrize("top", [0.0, -1.0, float("nan")])
def test_no_scale_gives_no_colour(top: float) -> None:
    assert "background" not in token_strip(["a"], [float("nan")], [1.0], 0, top)


def test_missing_activations_count_as_silence() -> None:
    assert token_strip(["a", "b"], [1.0], [], 5, 1.0).count("<span title") == 4


def test_a_huge_token_is_cut() -> None:
    assert len(token_strip(["x" * 10_000_000], [1.0], [1.0], 0, 1.0)) < 2000
