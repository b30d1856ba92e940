"""Text of models and files on the screen."""

from __future__ import annotations

import pytest

from dashboards.text import one_line, plain, plotly_text, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nurse 漢字 ñ", "nurse 漢字 ñ"),
        ("a\x1b[31mred", "a<U+001B>[31mred"),
        ("abc\u202egnp.exe", "abc<U+202E>gnp.exe"),
        ("lone \ud800 half", "lone <U+D800> half"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("क्\u200dष", "क्\u200dष"),
    ],
)
def test_what_does_not_show_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_long_text_is_cut_and_says_so() -> None:
    shown = printable("x" * 10_000_000, 50)
    assert shown == "x" * 50 + " (cut: 10,000,000 characters)"


def test_one_line_shows_line_breaks() -> None:
    assert one_line("a\nb\tc") == "a⏎b⇥c"


def test_markdown_is_escaped() -> None:
    assert plain("[x](javascript:alert(1)) **b** $m$ :red[x] `c`") == (
        r"\[x\]\(javascript\:alert\(1\)\) \*\*b\*\* \$m\$ \:red\[x\] \`c\`"
    )


def test_plotly_reads_no_tags() -> None:
    assert plotly_text('<a href="x">&') == '&lt;a href="x"&gt;&amp;'


@pytest.mark.parametrize("address", ["http://x.org/a", "HTTPS://x.org", "www.x.org", "someone@x.org"])
def test_an_address_in_a_label_is_no_link(address: str) -> None:
    said = plain(address)
    assert "\u2060" in said
    assert said.replace("\u2060", "").replace("\\", "") == address
