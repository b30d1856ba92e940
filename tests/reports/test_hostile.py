"""A run folder full of markup, controls and huge strings: it is text, and stays text, in every format."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pypdf
import pytest

from reports.build import write_report
from reports.content import report_of
from reports.data import report_json
from reports.html import html_of
from reports.ledger import evidence_of
from reports.markdown import markdown_of
from reports.model import Report
from reports.printed import compact
from reports.text import clean
from reports.verify import verify_report

EVIL = (
    '#read("/etc/passwd")', "] } ) #panic(1)", "$ x^2 $", "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>', "\u202eevil\u202c", "\x1b[31mred\x00", "漢字 ひらがな 한글", "🙂🏴",
    "*bold* _it_ `code` | cell | ~~x~~ @user #1", "[link](javascript:alert(1))", "{{ 7 * 7 }} {% raw %}",
    "../../etc/passwd", "\\u{41} \\ // /* */ <label> @ref", "◊1 ◊2", "= heading", "https://example.org/x",
    "a" * 400,
)  # fmt: skip
HUGE = "long " * 2_000_000
RUNS = Path(__file__).parents[1] / "data" / "runs"
LOGINS = "root:x:0:0"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, edits: Any) -> Path:
    """A miniature whose names and sentences are all of the above; every hash fits."""
    run = Path(shutil.copytree(RUNS / "compare", tmp_path_factory.mktemp("hostile") / "compare"))
    words = " · ".join(EVIL)

    def behaviour(found: Any) -> None:
        for suite in found["suites"]:
            suite["title"] = words
        found["warnings"] = [words, HUGE]

    def verdict(found: Any) -> None:
        for one in found["behaviours"]:
            one["reasons"], one["missing"] = list(EVIL), list(EVIL)

    def features(found: Any) -> None:
        found["not_measured"] = list(EVIL)
        for hook in found["hooks"]:
            hook["dictionary"], hook["hook"] = EVIL[3], f"{EVIL[0]}{hook['hook']}"

    def switches(found: Any) -> None:
        for one in found["behaviours"]:
            one["set"]["units"] = list(EVIL)

    def manifest(found: Any) -> None:
        found["command"] = ["audit", *EVIL]
        found["base"]["reference"] = words
        found["base"]["files"] = dict.fromkeys(EVIL, "0" * 64)
        found["versions"] = {evil: evil for evil in EVIL}

    for stage, edit in {
        "behaviour": behaviour,
        "verdict": verdict,
        "features": features,
        "switches": switches,
    }.items():
        edits.change(run / f"stages/{stage}/result.json", edit)
    edits.change(run / "manifest.json", manifest)
    edits.seal(run)
    return run


@pytest.fixture(scope="module")
def document(hostile: Path) -> Report:
    """Its report, made once."""
    return report_of(evidence_of(hostile))


def test_the_pdf_shows_it_as_text_and_verifies(hostile: Path, tmp_path: Path) -> None:
    out = write_report(hostile, tmp_path / "report.pdf")
    text = compact("".join(page.extract_text() for page in pypdf.PdfReader(out).pages))
    for evil in EVIL:
        assert compact(clean(evil)) in text
    assert LOGINS not in text
    assert "10,000,000charactersinall" in text
    found = verify_report(out, hostile)
    assert (found.problems, found.identical) == ((), True)


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_web_page_shows_it_as_text_and_fetches_nothing(document: Report) -> None:
    page = Page()
    source = html_of(document)
    page.feed(source)
    assert not {"script", "img", "iframe", "object", "link", "form", "base"} & page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    targets = [value for name, value in page.attributes if name in ("href", "xlink:href", "src", "action")]
    assert all(value is not None and value.startswith("#") for value in targets)
    for evil in EVIL:
        assert clean(evil) in page.text
    assert "default-src 'none'" in html.unescape(source)


def test_figures_of_one_page_do_not_share_ids(document: Report) -> None:
    source = html_of(document)
    ids = re.findall(r'\bid="([^"]+)"', source)
    assert len(ids) == len(set(ids))
    assert source.count("<svg") == source.count("<desc>") > 3


def test_the_markdown_escapes_it(document: Report) -> None:
    text = markdown_of(document)
    assert set(re.findall(r"<[^>]*>", text)) == {"<!-- unmask report -->", "<sup>", "</sup>"}
    assert not re.search(r"(?<!\\)\]\(", text)
    assert not re.search(r"(?<![\\\w])@\w", text)
    for row in [line for line in text.splitlines() if line.startswith("|")]:
        assert row.endswith("|")


def test_the_data_holds_it_as_strings(document: Report) -> None:
    found = json.loads(report_json(document))
    said = json.dumps(found, ensure_ascii=False)
    assert all(json.dumps(clean(evil), ensure_ascii=False)[1:-1] in said for evil in EVIL)


def test_names_that_lead_elsewhere_are_not_followed(
    copied: Callable[[str], Path], edits: Any, tmp_path: Path
) -> None:
    run = copied("train")
    (run.parent / "secret.txt").write_text("the secret", encoding="utf-8")

    def edit(found: Any) -> None:
        found["files"]["../../../secret.txt"] = "0" * 64

    edits.change(run / "stages/train/DONE", edit)

    def stage(found: Any) -> None:
        found["stages"]["../../../etc"] = {"status": "done", "done": "0" * 64}

    edits.change(run / "manifest.json", stage)
    text = write_report(run, tmp_path / "report.md", "md").read_text(encoding="utf-8")
    assert "the secret" not in text
    assert "lies outside the run folder" in text.replace("\\", "")
    assert "is no stage of this version" in text.replace("\\", "")
