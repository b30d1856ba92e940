"""The board of findings: opening, noting, signing off, withdrawing; two reviewers at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.evidence.findings import FINDINGS, append_finding, read_findings
from dashboards.shape import findings as shape

Open = Callable[..., Any]
Copy = Callable[[str], Path]
HOOK = "blocks.2.hook_resid_post"


def opened(run: Path, **changes: object) -> str:
    entry = {
        "action": "opened",
        "reviewer": "Ann",
        "severity": "high",
        "title": "A <b>bold</b> title",
        **changes,
    }
    return append_finding(run / FINDINGS, entry).finding


def submit(page: Any, label: str) -> Any:
    return next(button for button in page.button if button.label == label).click().run()


def test_an_address_of_a_feature_is_checked() -> None:
    hooks = [HOOK, "a/b"]
    assert shape.feature_address(f"{HOOK}/12", hooks) == (HOOK, 12)
    assert shape.feature_address("a/b/3", hooks) == ("a/b", 3)
    for wrong in ("other/12", f"{HOOK}/x", f"{HOOK}/", HOOK, f"{HOOK}/²", f"{HOOK}/" + "1" * 30):
        assert shape.feature_address(wrong, hooks) is None
    assert shape.strangers([f"{HOOK}/1", "claim"], [], hooks) == ["claim"]


def test_an_empty_log(open_page: Open, miniature: Copy, said: Callable[[Any], str]) -> None:
    run = miniature("compare")
    page = open_page("findings", run)
    assert not page.exception
    assert "Nobody has opened a finding yet." in said(page)
    assert not (run / FINDINGS).exists()


@pytest.mark.parametrize("kind", ["compare", "train", "attack", "selftest"])
def test_a_finding_is_opened_with_its_evidence(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str
) -> None:
    run = miniature(kind)
    claim = json.loads((run / "claims.json").read_text())["claims"][0]["id"]
    page = open_page("findings", run, evidence=[claim])
    page.text_input(key="open-title").set_value("Behaviour comes back")
    page.selectbox(key="open-severity").set_value("critical")
    page.text_area(key="open-note").set_value("two\nlines")
    page.text_input(key="open-reviewer").set_value("Ann")
    page = submit(page, "Open this finding")
    assert not page.exception
    entry = read_findings(run / FINDINGS).entries[0]
    assert (entry.title, entry.severity, entry.note) == ("Behaviour comes back", "critical", "two\nlines")
    assert (entry.reviewer, entry.evidence) == ("Ann", [claim])
    assert "F1: opened by Ann" in said(page)
    assert "F1: Behaviour comes back" in said(page)


@pytest.mark.parametrize(
    ("title", "reviewer", "evidence", "wrong"),
    [
        ("", "Ann", [], "The entry is wrong: title"),
        ("T", " ", [], "The entry is wrong: reviewer"),
        ("T", "Ann", ["nobody"], "neither a claim nor a feature"),
        ("T\u202e", "Ann", [], "does not print"),
    ],
)
def test_a_wrong_entry_is_refused_and_kept_in_the_form(
    open_page: Open, miniature: Copy, said: Callable[[Any], str],
    title: str, reviewer: str, evidence: list[str], wrong: str,
) -> None:  # fmt: skip
    run = miniature("compare")
    page = open_page("findings", run, evidence=evidence)
    page.text_input(key="open-title").set_value(title)
    page.text_input(key="open-reviewer").set_value(reviewer)
    page = submit(page, "Open this finding")
    assert wrong in said(page)
    assert not (run / FINDINGS).exists()


@pytest.mark.parametrize(
    ("label", "action", "status"),
    [
        ("Add a note", "noted", "open"),
        ("Sign off", "signed off", "signed off"),
        ("Withdraw", "withdrawn", "withdrawn"),
    ],
)
def test_a_finding_is_answered(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], label: str, action: str, status: str
) -> None:
    run = miniature("compare")
    name = opened(run, evidence=[f"{HOOK}/3"])
    page = open_page("findings", run, finding=name)
    page.radio(key="answer-action").set_value(label)
    page.text_input(key="answer-reviewer").set_value("Bob")
    page.text_area(key="answer-note").set_value("looked at it,\nall of it")
    page = submit(page, "Write it to the log")
    assert not page.exception
    found = read_findings(run / FINDINGS).current[name]
    assert found.status == status
    assert found.entries[-1].action == action
    assert "looked at it,\nall of it" in said(page)
    assert page.dataframe[0].value["note"].iloc[-1].startswith("looked at it")
    assert f"{name}: {action} by Bob" in said(page)


def test_two_reviewers_at_once(open_page: Open, miniature: Copy, said: Callable[[Any], str]) -> None:
    run = miniature("compare")
    name = opened(run)
    page = open_page("findings", run, finding=name)
    append_finding(run / FINDINGS, {"action": "withdrawn", "reviewer": "Eve", "finding": name, "note": "no"})
    page.radio(key="answer-action").set_value("Sign off")
    page.text_input(key="answer-reviewer").set_value("Bob")
    page = submit(page, "Write it to the log") if page.button else page
    assert not page.exception
    assert len(read_findings(run / FINDINGS).entries) == 2


def test_a_note_of_somebody_else_is_seen_before_one_signs(
    open_page: Open, miniature: Copy, said: Callable[[Any], str]
) -> None:
    run = miniature("compare")
    name = opened(run)
    page = open_page("findings", run, finding=name)
    append_finding(run / FINDINGS, {"action": "noted", "reviewer": "Eve", "finding": name, "note": "wait"})
    page.radio(key="answer-action").set_value("Sign off")
    page.text_input(key="answer-reviewer").set_value("Bob")
    page = submit(page, "Write it to the log")
    assert "Somebody wrote about this finding meanwhile" in said(page)
    assert len(read_findings(run / FINDINGS).entries) == 2
    page = submit(page, "Write it to the log")
    assert read_findings(run / FINDINGS).current[name].status == "signed off"


def test_signing_twice_is_refused(open_page: Open, miniature: Copy, said: Callable[[Any], str]) -> None:
    run = miniature("compare")
    name = opened(run)
    append_finding(run / FINDINGS, {"action": "signed off", "reviewer": "Bob", "finding": name})
    page = open_page("findings", run, finding=name)
    page.radio(key="answer-action").set_value("Sign off")
    page.text_input(key="answer-reviewer").set_value("Bob")
    page = submit(page, "Write it to the log")
    assert "has signed F1 off before" in said(page)


def test_markup_stays_text(open_page: Open, miniature: Copy) -> None:
    run = miniature("compare")
    name = opened(run, note="![x](http://example.org/x.png)\n<script>alert(1)</script> :red[no]")
    page = open_page("findings", run, finding=name)
    assert any("<script>alert(1)</script>" in text.value for text in page.text)
    for element in [*page.markdown, *page.caption, *page.subheader]:
        assert "<script>" not in element.value
        assert "![x](" not in element.value


def test_a_broken_log_and_a_broken_chain_are_said(
    open_page: Open, miniature: Copy, said: Callable[[Any], str]
) -> None:
    run = miniature("compare")
    opened(run)
    opened(run, title="second")
    lines = (run / FINDINGS).read_text().splitlines()
    (run / FINDINGS).write_text(lines[0].replace("bold", "mild") + "\n" + lines[1] + "\n")
    page = open_page("findings", run)
    assert "The log was changed after it was written." in said(page)
    (run / FINDINGS).write_text("{\n")
    assert "A line of the findings log is broken" in said(open_page("findings", run))


def test_a_wrong_address(open_page: Open, miniature: Copy) -> None:
    run = miniature("compare")
    opened(run)
    assert "is not there" in open_page("findings", run, finding="F99").error[0].value


def test_the_board_sorts_by_severity(miniature: Copy, tmp_path: Path) -> None:
    log = tmp_path / FINDINGS
    for severity in ("low", "critical"):
        append_finding(log, {"action": "opened", "reviewer": "Ann", "severity": severity, "title": severity})
    frame = shape.board(read_findings(log).current)
    assert frame["status"].tolist() == ["open", "open"]
    assert shape.history(read_findings(log).current["F1"])["action"].tolist() == ["opened"]
