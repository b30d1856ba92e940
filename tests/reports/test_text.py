"""Text of runs on its way to a page."""

from __future__ import annotations

import pytest
from fontTools.ttLib import TTFont

from reports.pdf import HERE
from reports.text import LONGEST, MARK, clean, covered


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain words", "plain words"),
        ("Ünïcode λόγος Жук 漢字 ひらがな 한글", "Ünïcode λόγος Жук 漢字 ひらがな 한글"),
        ("a\x1b[31mb", "aU+001B[31mb"),
        ("evil\u202egnp.exe", "evilU+202Egnp.exe"),
        ("zero\u200bwidth\u2066", "zeroU+200BwidthU+2066"),
        ("two\nlines\r\t", "twoU+000AlinesU+000DU+0009"),
        ("\ud800", "U+D800"),
        ("🙂", "U+1F642"),
        ("עברית", "U+05E2U+05D1U+05E8U+05D9U+05EA"),
        (f"0.9{MARK}7", "0.9U+25CA7"),
        ("soft\u00adhyphen\u00a0nbsp", "softU+00ADhyphenU+00A0nbsp"),
        ("", ""),
    ],
)
def test_what_cannot_be_shown_is_written_as_its_code(text: str, printed: str) -> None:
    assert clean(text) == printed


def test_towers_of_accents_are_taken_down() -> None:
    assert clean("e" + "\u0301" * 4) == "e\u0301\u0301U+0301U+0301"


def test_a_huge_string_is_cut_and_says_so() -> None:
    said = clean("x" * 10_000_000)
    assert len(said) < LONGEST + 60
    assert said.endswith("… [cut: 10,000,000 characters in all]")


def test_markup_is_left_alone_because_it_is_only_text() -> None:
    text = '#read("/etc/passwd") $x$ ] *b* <b> `c` \\'
    assert clean(text) == text


def test_the_list_of_coverage_is_what_the_fonts_can_draw() -> None:
    drawn: set[int] = set()
    for path in sorted((HERE / "fonts").glob("Unmask*.[ot]tf")):
        drawn |= set(TTFont(path).getBestCmap())
    assert covered() <= drawn
    assert len(covered()) > 15_000
    assert {ord(c) for c in "AzÄΩЯ漢かカ한\N{MINUS SIGN}≤±∞[]◆■"} <= covered()
