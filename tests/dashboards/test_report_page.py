"""The page that shows and saves the report; what stands in it is tested in tests/reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.evidence.findings import FINDINGS, append_finding

Open = Callable[..., Any]
Copy = Callable[[str], Path]


def files(run: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["compare", "train", "attack", "selftest"])
def test_the_page_previews_and_writes_nothing(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str
) -> None:
    run = miniature(kind)
    before = files(run)
    page = open_page("report", run, page="2")
    assert not page.exception
    assert page.number_input(key="page").value == 2
    assert "MINIATURE" in page.code[-1].value.upper()
    assert files(run) == before


@pytest.mark.parametrize("kind", ["pdf", "html", "md", "json"])
def test_what_is_saved_is_the_report_and_has_new_findings(miniature: Copy, kind: str) -> None:
    from dashboards.pages.report import made
    from reports.build import write_report

    run = miniature("selftest")
    first = made(str(run), "m", "f", kind)  # type: ignore[arg-type]
    out = write_report(run, run.parent / f"report.{kind}", kind)  # type: ignore[arg-type]
    assert first == out.read_bytes()
    append_finding(
        run / FINDINGS, {"action": "opened", "reviewer": "Ann", "severity": "low", "title": "Something"}
    )
    assert made(str(run), "m", "g", kind) != first  # type: ignore[arg-type]


def test_a_wrong_address(open_page: Open, miniature: Copy) -> None:
    assert "is not there" in open_page("report", miniature("train"), page="900").error[0].value
