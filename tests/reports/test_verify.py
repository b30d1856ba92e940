"""`audit verify report.pdf`: an honest report passes, and every kind of tampering shows."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pikepdf
import pytest

from audit.errors import RunFolderError
from audit.evidence.findings import Entry, append_finding
from reports.build import write_report
from reports.verify import CANNOT_SHOW, verify_report

RUNS = Path(__file__).parents[1] / "data" / "runs"
KINDS = ("compare", "train", "attack", "selftest")


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_report_passes_alone_and_with_its_run(kind: str, reported: Callable[[str], Path]) -> None:
    alone = verify_report(reported(kind))
    assert (alone.problems, alone.passed, alone.identical, alone.run) == ((), True, None, None)
    assert alone.notes == CANNOT_SHOW
    found = verify_report(reported(kind), RUNS / kind)
    assert (found.problems, found.identical) == ((), True)
    assert found.numbers >= 2 * found.claims > 0


def edited(
    reported: Callable[[str], Path], out: Path, edit: Callable[[pikepdf.Pdf], None], kind: str = "train"
) -> Path:
    with pikepdf.open(reported(kind)) as pdf:
        edit(pdf)
        pdf.save(out, deterministic_id=False)
    return out


def attach(pdf: pikepdf.Pdf, name: str, content: bytes) -> None:
    spec = pikepdf.AttachedFileSpec(pdf, content, filename=name, mime_type="application/json")
    del pdf.attachments[name]
    pdf.attachments[name] = spec


def attached(pdf: pikepdf.Pdf, name: str) -> Any:
    return json.loads(pdf.attachments[name].get_file().read_bytes())


def codes(page: pikepdf.Page) -> dict[str, dict[str, bytes]]:
    """For each font of a page, the two bytes that show each character."""
    found: dict[str, dict[str, bytes]] = {}
    for name, font in page.Resources.Font.items():
        mapped = re.findall(rb"<([0-9A-Fa-f]{4})>\s*<([0-9A-Fa-f]{4})>\s", font.ToUnicode.read_bytes())
        found[name] = {chr(int(said, 16)): bytes.fromhex(code.decode()) for code, said in mapped}
    return found


def rewrite(pdf: pikepdf.Pdf, place: int, old: str, new: str) -> None:
    """Shows one character in the place of the first other one, in whichever font has both."""
    page = pdf.pages[place]
    known, font, done = codes(page), "", False
    made = []
    for operands, operator in pikepdf.parse_content_stream(page):
        shown = list(operands)
        if str(operator) == "Tf":
            font = str(shown[0])
        both = {old, new} <= known.get(font, {}).keys()
        if str(operator) == "TJ" and both and not done:
            shown = [pikepdf.Array([_other(one, known[font], old, new) for one in shown[0]])]
            done = pikepdf.unparse_content_stream([(shown, operator)]) != pikepdf.unparse_content_stream(
                [(operands, operator)]
            )
        made.append((shown, operator))
    assert pikepdf.unparse_content_stream(made) != pikepdf.unparse_content_stream(
        pikepdf.parse_content_stream(page)
    )
    page.obj.Contents = pdf.make_stream(pikepdf.unparse_content_stream(made))


def _other(shown: Any, known: dict[str, bytes], old: str, new: str) -> Any:
    if not isinstance(shown, pikepdf.String):
        return shown
    raw = bytes(shown)
    pairs = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    return pikepdf.String(b"".join(known[new] if pair == known[old] else pair for pair in pairs))


@pytest.mark.parametrize(
    ("place", "old", "new"), [(0, "4", "7"), (2, "0", "1"), (-1, "7", "0"), (0, "e", "a")]
)
def test_a_changed_character_on_a_page_shows(
    reported: Callable[[str], Path], tmp_path: Path, place: int, old: str, new: str
) -> None:
    out = edited(reported, tmp_path / "edited.pdf", lambda pdf: rewrite(pdf, place, old, new))
    found = verify_report(out)
    assert not found.passed
    assert "page" in found.problems[0]


def test_a_page_taken_out_shows(reported: Callable[[str], Path], tmp_path: Path) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        del pdf.pages[3]

    assert "does not carry" in verify_report(edited(reported, tmp_path / "less.pdf", edit)).problems[0]


def test_words_written_onto_a_page_show(reported: Callable[[str], Path], tmp_path: Path) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        font = pikepdf.Dictionary(
            Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
        )
        name = pdf.pages[0].add_resource(font, pikepdf.Name.Font)
        said = b" BT %s 9 Tf 100 400 Td (Released by the board) Tj ET" % str(name).encode()
        pdf.pages[0].contents_add(said)

    problems = verify_report(edited(reported, tmp_path / "more.pdf", edit)).problems
    assert problems


def test_another_ledger_shows(reported: Callable[[str], Path], tmp_path: Path) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        claims = attached(pdf, "claims.json")
        claims["claims"][0]["value"] = 0.123
        attach(pdf, "claims.json", json.dumps(claims).encode())

    problems = " ".join(verify_report(edited(reported, tmp_path / "ledger.pdf", edit)).problems)
    assert "claims.json is not the one that the manifest names" in problems
    assert "the ledger 0.123" in problems


def test_another_manifest_shows(reported: Callable[[str], Path], tmp_path: Path) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        attach(pdf, "manifest.json", json.dumps({**attached(pdf, "manifest.json"), "seed": 7}).encode())

    problems = " ".join(verify_report(edited(reported, tmp_path / "manifest.pdf", edit)).problems)
    assert "not the one that the report names" in problems
    assert "not the one that the PDF's keywords name" in problems


def test_another_report_inside_shows(reported: Callable[[str], Path], tmp_path: Path) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        text = json.dumps(attached(pdf, "report.json")).replace("0.7", "0.9")
        attach(pdf, "report.json", text.encode())

    problems = verify_report(edited(reported, tmp_path / "inside.pdf", edit)).problems
    assert any("the ledger" in problem for problem in problems)
    assert any("do not say" in problem for problem in problems)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("manifest.json", b"{}", "does not fit this version's format"),
        ("report.json", b"[]", "not the one that the report names"),
        ("report.json", b'{"sections": 3}', "does not fit this version's format"),
        ("claims.json", b'{"claims": 3}', "no ledger that can be read"),
    ],
)
def test_attachments_of_another_shape_are_problems(
    reported: Callable[[str], Path], tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    found = verify_report(edited(reported, tmp_path / "odd.pdf", lambda pdf: attach(pdf, name, content)))
    assert said in " ".join(found.problems)


def test_an_attachment_that_is_no_json_is_an_error(reported: Callable[[str], Path], tmp_path: Path) -> None:
    out = edited(reported, tmp_path / "odd.pdf", lambda pdf: attach(pdf, "claims.json", b"\xff{"))
    with pytest.raises(RunFolderError, match=r"claims\.json is broken"):
        verify_report(out)


def test_a_ledger_taken_out_shows(reported: Callable[[str], Path], tmp_path: Path) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        del pdf.attachments["claims.json"]

    problems = " ".join(verify_report(edited(reported, tmp_path / "without.pdf", edit)).problems)
    assert "missing from the report" in problems


def test_two_attachments_of_one_name_are_an_error(reported: Callable[[str], Path], tmp_path: Path) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        names = pdf.Root.Names.EmbeddedFiles
        while "/Kids" in names:
            names = names.Kids[0]
        first = [names.Names[0], names.Names[1]]
        names.Names = pikepdf.Array([*first, *names.Names])

    with pytest.raises(RunFolderError, match="same name"):
        verify_report(edited(reported, tmp_path / "twice.pdf", edit))


def test_an_attachment_that_shows_two_faces_is_an_error(
    reported: Callable[[str], Path], tmp_path: Path
) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        names = pdf.Root.Names.EmbeddedFiles
        while "/Kids" in names:
            names = names.Kids[0]
        names.Names[1].EF.F = pdf.make_stream(b"{}", Type=pikepdf.Name.EmbeddedFile)

    with pytest.raises(RunFolderError, match="two different files"):
        verify_report(edited(reported, tmp_path / "faces.pdf", edit))


def test_a_cut_file_is_an_error(reported: Callable[[str], Path], tmp_path: Path) -> None:
    whole = reported("train").read_bytes()
    for share in (0.02, 0.5, 0.99):
        cut = tmp_path / "cut.pdf"
        cut.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(RunFolderError, match="no PDF that can be read"):
            verify_report(cut)


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.7\n%%EOF\n", b"\x00" * 2000])
def test_what_is_no_pdf_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match="no PDF that can be read"):
        verify_report(path)


def test_another_pdf_is_an_error(tmp_path: Path) -> None:
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        pdf.save(tmp_path / "other.pdf")
    with pytest.raises(RunFolderError, match="no report of this tool"):
        verify_report(tmp_path / "other.pdf")
    with pytest.raises(RunFolderError, match="cannot be read"):
        verify_report(tmp_path / "missing.pdf")


def test_a_bomb_is_refused(reported: Callable[[str], Path], tmp_path: Path) -> None:
    bomb = zlib.compress(b" " * 200_000_000, 9)

    def page(pdf: pikepdf.Pdf) -> None:
        pdf.pages[0].obj.Contents = pdf.make_stream(bomb, Filter=pikepdf.Name.FlateDecode)

    def ledger(pdf: pikepdf.Pdf) -> None:
        stream = pdf.make_stream(bomb, Filter=pikepdf.Name.FlateDecode, Type=pikepdf.Name.EmbeddedFile)
        names = pdf.Root.Names.EmbeddedFiles
        while "/Kids" in names:
            names = names.Kids[0]
        names.Names[1].EF.F = names.Names[1].EF.UF = stream

    for number, edit in enumerate((page, ledger)):
        out = tmp_path / f"bomb-{number}.pdf"
        with pikepdf.open(reported("train")) as pdf:
            edit(pdf)
            pdf.save(out, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none)
        assert out.stat().st_size < 2_000_000
        try:
            assert any("cannot be read" in problem for problem in verify_report(out).problems)
        except RunFolderError as error:
            assert "no PDF that can be read" in error.problem  # noqa: PT017  # either way of saying no will do


def test_a_file_or_text_beyond_all_reports_is_refused(
    reported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.opened.LARGEST_TEXT", 100)
    assert "more text than any report" in verify_report(reported("train")).problems[-1]
    monkeypatch.setattr("reports.opened.MOST_PAGES", 1)
    with pytest.raises(RunFolderError, match="more pages"):
        verify_report(reported("train"))
    monkeypatch.setattr("reports.opened.LARGEST_FILE", 1)
    with pytest.raises(RunFolderError, match="more than any report"):
        verify_report(reported("train"))


def test_another_run_shows(
    reported: Callable[[str], Path], copied: Callable[[str], Path], edits: Any
) -> None:
    run = copied("train")
    found = verify_report(reported("train"), run)
    assert (found.problems, found.identical) == ((), True)
    edits.change(run / "stages/train/result.json", lambda said: {**said, "steps": 99})
    assert any(
        "was changed after it was written" in p for p in verify_report(reported("train"), run).problems
    )
    edits.seal(run)
    problems = verify_report(reported("train"), run).problems
    assert "the attached manifest.json is not this run's" in problems


def test_a_figure_that_was_changed_shows_against_the_run(
    reported: Callable[[str], Path], tmp_path: Path
) -> None:
    """A drawing cannot be read back, so only drawing it again tells."""

    def edit(pdf: pikepdf.Pdf) -> None:
        pdf.pages[-1].contents_add(b" 0 0 1 rg 100 100 50 50 re f")

    out = edited(reported, tmp_path / "drawn.pdf", edit)
    assert verify_report(out).passed
    found = verify_report(out, RUNS / "train")
    assert found.identical is False
    assert "other bytes" in found.problems[0]


def test_findings_may_be_added_after_the_report_and_not_changed(copied: Callable[[str], Path]) -> None:
    run = copied("train")
    log = run / "findings.jsonl"
    for title in ("first", "second"):
        append_finding(log, Entry(action="opened", reviewer="Ada", severity="low", title=title))
        if title == "first":
            out = write_report(run, run / "report.pdf")
    found = verify_report(out, run)
    assert (found.problems, found.identical) == ((), True)
    log.write_bytes(log.read_bytes().replace(b"first", b"third"))
    assert any("findings.jsonl is not the beginning" in p for p in verify_report(out, run).problems)


def test_a_report_of_other_versions_is_compared_by_its_sections(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied("train")
    monkeypatch.setattr("reports.content.version", lambda package: "0.0")
    out = write_report(run, run / "report.pdf")
    monkeypatch.undo()
    found = verify_report(out, run)
    assert (found.problems, found.identical) == ((), None)


def test_a_report_of_another_name_of_the_same_folder_still_verifies(
    reported: Callable[[str], Path], tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(RUNS / "attack", tmp_path / "renamed"))
    assert verify_report(reported("attack"), moved).identical is True
