"""One auditor's way through the dashboard in Chromium, and the same pages on a run that wants to do harm."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdf
import pytest

from audit.evidence.findings import FINDINGS, read_findings
from dashboards.app import PAGES

pytestmark = pytest.mark.browser
RUNS = Path(__file__).parents[1] / "data" / "runs"
ELSEWHERE = "elsewhere.invalid"
CLAIM = "behaviour/gender-occupation/plain/test/change"


def settled(page: Any) -> None:
    """Waits until the script of the page has run to its end."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.wait_for_selector("[data-testid=stHeading]")
    page.wait_for_function("() => !document.querySelector('[data-stale=true]')")


def go(page: Any, title: str) -> None:
    """Follows an entry of the menu."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
    page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
    settled(page)


def choose(page: Any, label: str, option: str) -> None:
    """Types an option whole, takes it, and shuts the list, which would take the next click."""
    box = page.get_by_test_id("stMultiSelect").filter(has_text=label)
    box.get_by_role("combobox").fill(option)
    page.get_by_role("option", name=option).first.wait_for()
    page.keyboard.press("Enter")
    box.get_by_text(option).first.wait_for()
    page.keyboard.press("Tab")
    page.get_by_role("listbox").wait_for(state="hidden")


def drag_box(page: Any) -> None:
    """A box around most of the map."""
    plot = page.locator("[data-testid=stPlotlyChart] .nsewdrag").first
    plot.wait_for()
    plot.scroll_into_view_if_needed()
    area = plot.bounding_box()
    page.mouse.move(area["x"] + 4, area["y"] + 4)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2, steps=5)
    page.mouse.move(area["x"] + area["width"] - 4, area["y"] + area["height"] - 4, steps=5)
    page.mouse.up()


def test_from_the_verdict_to_the_report(served: Callable[..., str], watched: Any, tmp_path: Path) -> None:
    run = Path(shutil.copytree(RUNS / "compare", tmp_path / "compare"))
    page = watched.page
    page.goto(served(run))
    settled(page)
    go(page, "Overview")
    assert page.get_by_text("INCONCLUSIVE").first.is_visible()
    assert page.get_by_text("MINIATURE").first.is_visible()

    go(page, "Diff map")
    drag_box(page)
    heading = page.get_by_role("heading", name=re.compile(r"\d+ latents in the box"))
    heading.wait_for()
    table = page.locator("[data-testid=stDataFrame]").first
    table.scroll_into_view_if_needed()
    area = table.bounding_box()
    page.mouse.click(area["x"] + 18, area["y"] + 54)  # the box that chooses the first row
    card = page.get_by_role("link", name=re.compile("Open the card of latent"))
    latent = card.inner_text().split()[-1]
    card.click()
    page.get_by_role("heading", name="Feature", exact=True).wait_for()
    settled(page)
    assert f"latent={latent}" in page.url

    go(page, "Findings")
    page.get_by_text("Open a finding").first.click()
    page.get_by_label("Title").fill("The behaviour comes back")
    choose(page, "Evidence", CLAIM)
    page.get_by_label("Reviewer").first.fill("Ann")
    page.get_by_role("button", name="Open this finding").click()
    page.get_by_text("F1: opened by Ann").wait_for()
    page.get_by_text("Sign off", exact=True).click()
    page.get_by_label("Reviewer").last.fill("Bob")
    page.get_by_role("button", name="Write it to the log").click()
    page.get_by_text("F1: signed off by Bob").wait_for()
    found = read_findings(run / FINDINGS).current["F1"]
    assert (found.status, found.title) == ("signed off", "The behaviour comes back")
    assert found.evidence == (CLAIM,)

    go(page, "Report")
    with page.expect_download() as download:
        page.get_by_role("button", name="PDF", exact=True).click()
    download.value.save_as(tmp_path / "report.pdf")
    text = "\n".join(p.extract_text() for p in pypdf.PdfReader(tmp_path / "report.pdf").pages)
    assert "The behaviour comes back" in text
    assert "Bob" in text
    assert watched.trouble == []


def test_nothing_of_a_hostile_run_happens_in_a_browser(
    served: Callable[..., str], watched: Any, hostile_run: Callable[..., Any]
) -> None:
    page, address = watched.page, served(hostile_run("compare").run)
    for entry in PAGES:
        page.goto(f"{address}/{entry.name}" if entry.name != "home" else address)
        page.get_by_role(
            "heading", name=entry.title if entry.name != "home" else "Unmask", level=1
        ).wait_for()
        settled(page)
        assert page.evaluate("window.pwned") is None, entry.name
        for part in (
            "script",
            "img[onerror]",
            "svg[onload]",
            "a[href^='javascript']",
            f"[src*='{ELSEWHERE}']",
        ):
            found = page.locator(f"[data-testid=stMain] {part}")
            assert found.count() == 0, (entry.name, part)
        links = page.locator("[data-testid=stMain] a").evaluate_all("them => them.map(a => a.href)")
        assert not any(ELSEWHERE in link for link in links), entry.name
    assert page.get_by_text("<script>window.pwned=1</script>").count() > 0
    assert watched.trouble == []


def test_the_html_report_of_a_hostile_run_does_nothing(
    watched: Any, hostile_run: Callable[..., Any], tmp_path: Path
) -> None:
    from reports.build import write_report

    out = write_report(hostile_run("compare").run, tmp_path / "report.html", "html")
    watched.page.goto(out.as_uri())
    assert watched.page.evaluate("window.pwned") is None
    assert [text for text in watched.trouble if "request file:" not in text] == []
