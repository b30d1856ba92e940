"""A run folder that wants to do harm does none: in every page, report, gate and command that reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import AuditError
from audit.evidence.files import sha256_file
from audit.evidence.findings import FINDINGS
from audit.evidence.run import CLAIMS, MANIFEST, open_run
from audit.evidence.verify import verify_run
from dashboards.app import PAGES

Make = Callable[..., Any]
MARK = "the-text-outside-of-the-run"
ROOT = Path(__file__).parents[2]
MARKDOWN = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "success")
"""Elements whose text Streamlit reads as Markdown."""
LIVE = re.compile(
    r"(?<!\\)(?:<script|<img|<svg|<a href|<b>|!\[x\]\(|\[click\]\(|:red\[|:material/skull|\$\\href)"
)
"""What would be markup if it stood there without an escape."""
DRAWN = re.compile(r"<(?:script|img|svg|a |b>)")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Opens the application at a page of a run."""

    def open_(page: str, run: Path, **query: str) -> Any:
        import streamlit as st
        from streamlit.testing.v1 import AppTest

        st.cache_data.clear()
        st.cache_resource.clear()
        monkeypatch.setenv("UNMASK_DASHBOARD_RUNS", json.dumps([str(run)]))

        def body(name: str) -> None:
            from dashboards.app import main

            main(landing=name)

        test = AppTest.from_function(body, args=(page,), default_timeout=120)
        for key, value in query.items():
            test.query_params[key] = value
        return test.run()

    return open_


def pages() -> list[str]:
    return [entry.name for entry in PAGES]


def files(run: Path) -> dict[str, str]:
    return {
        str(p.relative_to(run)): sha256_file(p) for p in run.rglob("*") if p.is_file() and not p.is_symlink()
    }


def read_as_markdown(test: Any) -> Iterator[str]:
    for kind in MARKDOWN:
        yield from (str(element.value) for element in getattr(test, kind))
    for metric in test.metric:
        yield from (str(metric.label), str(metric.value), str(metric.delta))
    for kind in ("button", "selectbox", "text_input", "multiselect", "expander", "radio", "checkbox"):
        yield from (str(element.label) for element in test.get(kind))
    for kind in ("download_button", "page_link", "link_button"):
        yield from (str(element.proto.label) for element in test.get(kind))


def everything(test: Any) -> str:
    """All that goes to the browser."""
    plots = [element.proto.spec for element in test.get("plotly_chart")]
    tables = [frame.value.to_string() for frame in test.dataframe]
    texts = [str(element.value) for kind in ("text", "code") for element in getattr(test, kind)]
    return "\n".join([*read_as_markdown(test), *plots, *tables, *texts])


def check(test: Any) -> None:
    assert not test.exception
    live = [text for text in read_as_markdown(test) if LIVE.search(text)]
    assert live == []
    drawn = [element for element in test.get("plotly_chart") if DRAWN.search(element.proto.spec)]
    assert drawn == []
    assert MARK not in everything(test)
    assert "root:x:0" not in everything(test)


@pytest.mark.parametrize("page", pages())
def test_no_page_runs_or_draws_what_a_run_says(hostile_run: Make, opened: Make, page: str) -> None:
    run = hostile_run("compare").run
    before = files(run)
    check(opened(page, run))
    assert files(run) == before


@pytest.mark.parametrize("kind", ["train", "attack", "selftest"])
@pytest.mark.parametrize("page", ["home", "overview", "training", "findings", "provenance"])
def test_other_kinds_of_run(hostile_run: Make, opened: Make, kind: str, page: str) -> None:
    check(opened(page, hostile_run(kind).run))


def test_the_hostile_texts_are_shown_as_text(hostile_run: Make, opened: Make) -> None:
    """The run is not merely refused: its texts are on the pages, letter by letter."""
    run = hostile_run("compare").run
    assert "<script>" in everything(opened("behaviours", run))
    assert "U+202E" in everything(opened("overview", run)) + everything(opened("switches", run))


@pytest.mark.parametrize("page", pages())
def test_texts_of_ten_megabytes_are_cut(hostile_run: Make, opened: Make, page: str) -> None:
    test = opened(page, hostile_run("compare", long=True).run)
    assert not test.exception
    assert max(map(len, read_as_markdown(test)), default=0) < 20_000
    assert len(everything(test)) < 20_000_000


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"suite": [1, 2], "<script>": ["a", "b"]}), path)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def linked(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parents[3] / "outside.parquet")


def to_a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HARMS = (foreign, truncated, linked, to_a_device, a_folder)


@pytest.mark.parametrize("shift", range(len(HARMS)))
@pytest.mark.parametrize("page", ["overview", "behaviours", "drift", "switches"])
def test_broken_tables_are_said(hostile_run: Make, opened: Make, page: str, shift: int) -> None:
    """Every table is harmed, and over the shifts every table in every way."""
    run = hostile_run("compare").run
    for place, path in enumerate(sorted(run.glob("stages/*/*.parquet"))):
        HARMS[(place + shift) % len(HARMS)](path)
    check(opened(page, run))


@pytest.mark.parametrize("page", pages())
def test_documents_that_lead_out_of_the_run_are_not_read(hostile_run: Make, opened: Make, page: str) -> None:
    run, outside = hostile_run("compare")
    outside.write_text(json.dumps({"format": 1, "key": MARK, "files": {MARK: MARK}, "seconds": 1.0}))
    for place, stage in enumerate(sorted(run.glob("stages/*/"))):
        path = stage / ("result.json", "DONE")[place % 2]
        path.unlink(missing_ok=True)
        path.symlink_to(outside)
    check(opened(page, run))


@pytest.mark.parametrize(
    ("name", "page"),
    [
        (MANIFEST, "home"), (MANIFEST, "overview"), (CLAIMS, "overview"), (CLAIMS, "report"),
        (FINDINGS, "findings"), (FINDINGS, "report"),
        ("config.toml", "provenance"), ("config.toml", "compare"),
    ],
)  # fmt: skip
def test_files_of_the_run_that_are_links_are_not_read(
    hostile_run: Make, opened: Make, name: str, page: str
) -> None:
    run, outside = hostile_run("compare")
    if (run / name).exists():
        text = (run / name).read_text(encoding="utf-8")
        outside.write_text(text.replace("invented", MARK), encoding="utf-8")
        (run / name).unlink()
    (run / name).symlink_to(outside)
    check(opened(page, run))


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"format": 1}', '{"format": 99}', "{" * 100_000, "[" * 200_000,
        '{"format": NaN}', '{"format": 1, "kind": "\\ud800"}', "9" * 5000, "\ufeff{}",
    ],
)  # fmt: skip
def test_a_manifest_that_is_none(hostile_run: Make, opened: Make, text: str) -> None:
    run = hostile_run("compare").run
    (run / MANIFEST).write_text(text, encoding="utf-8")
    for page in ("home", "overview"):
        test = opened(page, run)
        assert not test.exception
        assert test.error or test.text or test.dataframe


def ledger(run: Path, claims: int) -> None:
    found = json.loads((run / CLAIMS).read_text())
    one = json.dumps(found["claims"][0])
    rows = ",".join(one.replace('"id": "', f'"id": "{n} ', 1) for n in range(claims))
    (run / CLAIMS).write_text(f'{{"format": 1, "claims": [{rows}]}}')
    manifest = json.loads((run / MANIFEST).read_text()) | {"claims": sha256_file(run / CLAIMS)}
    (run / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.slow
@pytest.mark.parametrize(("claims", "size"), [(100_000, "read"), (1_000_000, "refused")])
@pytest.mark.parametrize("page", ["overview", "findings"])
def test_a_ledger_of_a_million_claims(
    hostile_run: Make, opened: Make, page: str, claims: int, size: str
) -> None:
    run = hostile_run("compare").run
    ledger(run, claims)
    test = opened(page, run)
    assert not test.exception
    refused = any("larger than" in text.value for text in [*test.text, *test.caption])
    assert refused == (size == "refused")


@pytest.mark.parametrize("kind", ["compare", "train", "attack", "selftest"])
def test_verify_and_show_end_in_a_message(hostile_run: Make, kind: str) -> None:
    from audit.show import summary_of

    run, outside = hostile_run(kind)
    outside.chmod(0)  # reading it would fail
    found = verify_run(open_run(run))
    assert not found.passed
    assert not any(MARK in problem for problem in found.problems)
    try:
        said = json.dumps(summary_of(run))
    except AuditError as error:
        said = "\n".join(error.lines())
    assert MARK not in said


@pytest.mark.parametrize("form", ["html", "md", "json"])
def test_reports_hold_it_as_text(hostile_run: Make, tmp_path: Path, form: str) -> None:
    from reports.build import write_report

    run = hostile_run("compare").run
    before = files(run)
    text = write_report(run, tmp_path / f"report.{form}", form).read_text(encoding="utf-8")
    assert MARK not in text
    assert "root:x:0" not in text
    if form == "html":
        assert not re.search(r"<(?:script|img src=x|svg onload|a href='javascript)", text)
        assert "elsewhere.invalid" not in re.sub(r">[^<]*<", "><", text)
    assert files(run) == before


def test_the_pdf_holds_it_as_text(hostile_run: Make, tmp_path: Path) -> None:
    import pypdf

    from reports.build import write_report

    run = hostile_run("compare").run
    reader = pypdf.PdfReader(write_report(run, tmp_path / "report.pdf", "pdf"))
    text = "\n".join(page.extract_text() for page in reader.pages)
    assert "root:x:0" not in text
    assert MARK not in text
    links = [str(a.get_object().get("/A")) for page in reader.pages for a in page.get("/Annots") or []]
    assert not any("javascript" in link or "elsewhere" in link for link in links)
    assert "/OpenAction" not in reader.trailer["/Root"] or "JavaScript" not in str(reader.trailer["/Root"])


@pytest.mark.parametrize("policy", sorted(p.name for p in (ROOT / "examples" / "policies").glob("*.toml")))
def test_the_gate_never_passes_it(hostile_run: Make, tmp_path: Path, policy: str) -> None:
    from audit.gate.config import GateConfig
    from audit.gate.run import run_gate

    run = hostile_run("compare").run
    before = files(run)
    try:
        result = run_gate(GateConfig(str(run), str(ROOT / "examples" / "policies" / policy)))
        code, said = int(result.exit_code), repr(result)
    except AuditError as error:
        code, said = 1, "\n".join(error.lines())
    assert code != 0
    assert MARK not in said
    assert files(run) == before


def test_every_page_exists() -> None:
    for name in pages():
        assert callable(import_module(f"dashboards.pages.{name}").page)
