"""The PDF itself: what it says, what it is by its standards, and that it is the same each time."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pikepdf
import pypdf
import pytest

from audit.errors import OutputError, UsageError
from reports.build import run_report, write_report
from reports.config import ReportConfig
from reports.pdf import pages_of
from reports.printed import compact, differences, pieces

RUNS = Path(__file__).parents[1] / "data" / "runs"
KINDS = ("compare", "train", "attack", "selftest")
POLICY = """
format = 1
title = "Release"
[run]
miniature = true
[[rule]]
kind = "drift"
name = "budget"
at_most = 0.5
[[rule]]
kind = "evidence"
stages = ["relearn", "drift"]
"""


def text_of(path: Path) -> list[str]:
    return [page.extract_text() for page in pypdf.PdfReader(path).pages]


@pytest.mark.parametrize("kind", KINDS)
def test_every_claim_stands_on_the_pages_with_its_value(
    kind: str, reported: Callable[[str], Path], evidences: Callable[[str], Any]
) -> None:
    from reports.numbers import claimed

    text = compact("".join(text_of(reported(kind))))
    for entry in evidences(kind).entries:
        assert compact(f"{claimed(entry.claim)}◊{entry.number}") in text, entry.claim.id


@pytest.mark.parametrize("kind", KINDS)
def test_the_pages_say_the_report_and_nothing_else(
    kind: str, reported: Callable[[str], Path], documents: Callable[[str], Any]
) -> None:
    from reports.data import as_data

    data = as_data(documents(kind), False)
    assert differences(data, text_of(reported(kind))) == []
    assert sum(len(piece.text) for piece in pieces(data)) > 5000


def test_every_page_carries_the_run_the_hash_and_its_number(reported: Callable[[str], Path]) -> None:
    pages = text_of(reported("compare"))
    for number, text in enumerate(pages, start=1):
        assert f"page {number} of {len(pages)}" in text
        assert "Audit report · compare" in text
        assert "MINIATURE" in text


def test_it_is_tagged_titled_and_in_english(reported: Callable[[str], Path]) -> None:
    with pikepdf.open(reported("compare")) as pdf:
        root = pdf.Root
        assert root.MarkInfo.Marked
        assert str(root.Lang) == "en"
        assert bool(root.ViewerPreferences.DisplayDocTitle)
        assert len(root.StructTreeRoot.K) > 0
        assert len(list(pdf.open_outline().root)) == 19
        assert root.OutputIntents[0].S == "/GTS_PDFA1"
        with pdf.open_metadata() as told:
            assert (told["pdfaid:part"], told["pdfaid:conformance"], told["pdfuaid:part"]) == ("3", "A", "1")
            assert told["dc:title"] == "Audit report: compare"
        assert "manifest " in str(pdf.docinfo["/Keywords"])


def test_every_font_is_embedded_and_nothing_active_is_inside(reported: Callable[[str], Path]) -> None:
    with pikepdf.open(reported("compare")) as pdf:
        descriptors = [
            o
            for o in pdf.objects
            if isinstance(o, pikepdf.Dictionary) and o.get("/Type") == "/FontDescriptor"
        ]
        assert descriptors
        assert all({"/FontFile", "/FontFile2", "/FontFile3"} & set(one.keys()) for one in descriptors)
        kinds = {str(o.get("/S")) for o in pdf.objects if isinstance(o, pikepdf.Dictionary)}
        assert not {"/JavaScript", "/Launch", "/SubmitForm", "/URI"} & kinds


def test_figures_have_alternative_texts(
    reported: Callable[[str], Path], documents: Callable[[str], Any]
) -> None:
    from reports.pdf import pictures

    with pikepdf.open(reported("compare")) as pdf:
        said = [str(o["/Alt"]) for o in pdf.objects if isinstance(o, pikepdf.Dictionary) and "/Alt" in o]
    for picture in pictures(documents("compare")):
        assert picture.alt in said


def test_the_ledger_and_the_manifest_travel_inside(reported: Callable[[str], Path]) -> None:
    with pikepdf.open(reported("compare")) as pdf:
        assert set(pdf.attachments) == {"claims.json", "manifest.json", "report.json"}
        for name in ("claims.json", "manifest.json"):
            assert pdf.attachments[name].get_file().read_bytes() == (RUNS / "compare" / name).read_bytes()
        assert {str(one.AFRelationship) for one in pdf.Root.AF} == {"/Data"}


def test_tables_repeat_their_heads_on_every_page(reported: Callable[[str], Path]) -> None:
    heads = [page for page in text_of(reported("compare")) if "value and interval" in page]
    assert len(heads) >= 2


def test_the_same_run_gives_the_same_bytes_in_another_process(
    reported: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "again.pdf"
    code = (
        "import sys; from pathlib import Path; from reports.build import write_report; "
        "write_report(*map(Path, sys.argv[1:]))"
    )
    subprocess.run([sys.executable, "-c", code, RUNS / "attack", out], check=True)
    assert out.read_bytes() == reported("attack").read_bytes()


@pytest.mark.parametrize("kind", ["html", "md", "json"])
def test_other_formats_are_the_same_each_time(kind: Any, tmp_path: Path) -> None:
    first, second = (write_report(RUNS / "train", tmp_path / f"{n}.{kind}", kind).read_bytes() for n in "ab")
    assert first == second


def test_an_earlier_report_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    for kind in ("pdf", "html", "md", "json"):
        out = tmp_path / f"report.{kind}"
        first = run_report(ReportConfig(str(RUNS / "train"), str(out), kind)).read_bytes()
        assert run_report(ReportConfig(str(RUNS / "train"), str(out), kind)).read_bytes() == first
    other = tmp_path / "thesis.pdf"
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.write(other)
    mine = tmp_path / "notes.md"
    mine.write_text("# notes\n", encoding="utf-8")
    for path in (other, mine):
        before = path.read_bytes()
        with pytest.raises(OutputError, match="no report of this tool"):
            write_report(RUNS / "train", path)
        assert path.read_bytes() == before


def test_outputs_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        write_report(RUNS / "train", tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(RUNS / "train", tmp_path / "file" / "report.pdf")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_default_place_is_the_run_folder(copied: Callable[[str], Path]) -> None:
    run = copied("train")
    assert run_report(ReportConfig(str(run), format="md")) == run / "report.md"
    from audit.evidence.run import open_run
    from audit.evidence.verify import verify_run

    assert verify_run(open_run(run)).passed


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no format"):
        ReportConfig("run", format="docx")


def test_a_policy_puts_the_gate_on_the_first_page_and_into_the_file(tmp_path: Path) -> None:
    policy = tmp_path / "release.toml"
    policy.write_text(POLICY, encoding="utf-8")
    out = run_report(ReportConfig(str(RUNS / "compare"), str(tmp_path / "r.pdf"), policy=str(policy)))
    first = text_of(out)[0]
    assert re.search(r"Release gate: (PASS|BLOCK|INCONCLUSIVE)", first)
    assert "release.toml" in compact(first)
    assert "gate.json" in pypdf.PdfReader(out).attachments
    from reports.verify import verify_report

    found = verify_report(out, RUNS / "compare")
    assert (found.problems, found.identical) == ((), True)


def test_previews_are_pages_as_pictures(documents: Callable[[str], Any]) -> None:
    pages = pages_of(documents("train"), dots_per_inch=20)
    assert len(pages) > 5
    assert all(page.startswith(b"\x89PNG") for page in pages)


def test_the_file_is_read_by_another_library_without_complaint(reported: Callable[[str], Path]) -> None:
    with pikepdf.open(io.BytesIO(reported("selftest").read_bytes())) as pdf:
        assert pdf.check_pdf_syntax() == []
