from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from audit.errors import OutputError, RunFolderError, UsageError
from audit.evidence.findings import (
    GENESIS,
    LARGEST_LOG,
    LOCK,
    Entry,
    Finding,
    append,
    append_finding,
    check_chain,
    read,
    read_findings,
)

OPENED = {"action": "opened", "severity": "high", "title": "MASKED, not ERASED", "reviewer": "Ada"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "findings.jsonl"


def add(log: Path, **fields: Any) -> Finding:
    return append_finding(log, {"reviewer": "Ada", **fields})


def test_a_missing_file_is_an_empty_log(log: Path) -> None:
    found = read_findings(log)
    assert (found.entries, found.current, found.head, check_chain(log)) == ((), {}, GENESIS, [])
    assert not log.exists()


def test_a_finding_goes_from_open_to_signed_off_and_all_is_kept(log: Path) -> None:
    append_finding(log, OPENED | {"evidence": ["verdict/x", "blocks.3.hook/7"]})
    add(log, action="noted", finding="F1", note="seen\nagain", evidence=["verdict/x", "drift/forward"])
    assert [state.finding for state in read_findings(log).open] == ["F1"]
    add(log, action="signed off", finding="F1", reviewer="Grace")
    found = read_findings(log)
    state = found.current["F1"]
    assert (state.status, state.severity, state.title) == ("signed off", "high", "MASKED, not ERASED")
    assert state.evidence == ("verdict/x", "blocks.3.hook/7", "drift/forward")
    assert [entry.reviewer for entry in state.signatures] == ["Grace"]
    assert (found.open, len(found.signed_off), [e.id for e in found.entries]) == ([], 1, ["E1", "E2", "E3"])
    assert check_chain(log) == []


def test_two_reviewers_may_sign_and_one_of_them_not_twice(log: Path) -> None:
    append_finding(log, OPENED)
    for reviewer in ("Ada", "Grace"):
        add(log, action="signed off", finding="F1", reviewer=reviewer)
    assert len(read_findings(log).current["F1"].signatures) == 2
    with pytest.raises(UsageError, match="signed F1 off before"):
        add(log, action="signed off", finding="F1")


def test_raising_the_severity_takes_the_signatures_away_and_lowering_does_not(log: Path) -> None:
    append_finding(log, OPENED)
    add(log, action="signed off", finding="F1")
    add(log, action="noted", finding="F1", severity="low")
    assert read_findings(log).current["F1"].status == "signed off"
    add(log, action="noted", finding="F1", severity="critical", title="worse")
    assert read_findings(log).current["F1"].status == "open"
    add(log, action="signed off", finding="F1")
    assert read_findings(log).current["F1"].status == "signed off"


def test_withdrawn_findings_stay_visible_and_take_nothing_more(log: Path) -> None:
    append_finding(log, OPENED)
    add(log, action="withdrawn", finding="F1", note="a mistake")
    assert [state.title for state in read_findings(log).withdrawn] == ["MASKED, not ERASED"]
    for action in ("signed off", "noted", "withdrawn"):
        with pytest.raises(UsageError, match="withdrawn"):
            add(log, action=action, finding="F1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reviewer": None}, "reviewer"),
        ({"reviewer": "   "}, "reviewer: is empty"),
        ({"severity": "awful"}, "severity"),
        ({"severity": None}, "with a severity and a title"),
        ({"finding": "F1"}, "every action but `opened`"),
        ({"action": "noted"}, "every action but `opened`"),
        ({"action": "erased"}, "action"),
        ({"note": "n" * 10_000_000}, "note: String should have at most 10000"),
        ({"title": "a\x1b[2Jb"}, "U\\+001B"),
        ({"title": "a\nb"}, "U\\+000A"),
        ({"note": "a\u202eb"}, "U\\+202E"),
        ({"note": "a\ud800b"}, "note"),
        ({"evidence": ["x"] * 51}, "evidence"),
        ({"evidence": ["x" * 301]}, "evidence.0"),
        ({"extra": 1}, "extra"),
        ({"at": "2026-01-01T00:00:00+00:00"}, "at"),
    ],
)
def test_wrong_entries_are_refused_in_one_short_sentence_and_nothing_is_written(
    log: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        append_finding(log, OPENED | change)
    assert len(str(caught.value)) < 300
    assert not log.exists()


def test_sign_off_needs_a_finding_that_exists(log: Path) -> None:
    with pytest.raises(UsageError, match="no finding F1"):
        add(log, action="signed off", finding="F1")
    assert not log.exists()


def test_lines_of_many_scripts_come_back_as_they_were(log: Path) -> None:
    text = "漢字 كتاب \u0928\u200d 👩\u200d🚀 <script>alert(1)</script> #set *x*"
    append_finding(log, Entry(action="opened", reviewer="王", severity="info", title="t", note=text))
    assert read_findings(log).entries[0].note == text


def test_a_changed_removed_or_moved_line_breaks_the_chain_and_stops_writing(log: Path) -> None:
    for number in range(4):
        append_finding(log, OPENED | {"title": f"finding {number}"})
    whole = log.read_bytes().splitlines(keepends=True)
    assert check_chain(log) == []
    spoiled = {
        "changed": [whole[0].replace(b"finding 0", b"finding 9"), *whole[1:]],
        "removed": [whole[0], *whole[2:]],
        "moved": [whole[1], whole[0], *whole[2:]],
    }
    for lines in spoiled.values():
        log.write_bytes(b"".join(lines))
        assert check_chain(log) != []
        with pytest.raises(RunFolderError, match="broken"):
            append_finding(log, OPENED)
        assert log.read_bytes() == b"".join(lines)


def test_lines_cut_off_the_end_show_in_the_head_alone(log: Path) -> None:
    append_finding(log, OPENED)
    first = log.read_bytes()
    append_finding(log, OPENED)
    head = read_findings(log).head
    log.write_bytes(first)
    assert check_chain(log) == []
    assert read_findings(log).head != head


def test_a_torn_last_line_is_reported_with_what_to_do_and_never_overwritten(log: Path) -> None:
    append_finding(log, OPENED)
    whole = log.read_bytes()
    log.write_bytes(whole + whole[:40])
    for touch in (read_findings, check_chain, lambda path: append_finding(path, OPENED)):
        with pytest.raises(RunFolderError, match=f"torn: 40 bytes.*\n.*\n.*truncate -s {len(whole)} "):
            touch(log)
    assert log.read_bytes() == whole + whole[:40]


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"not json",
        b"",
        b"[" * 60_000,
        b'"' + b"x" * 100_000 + b'"',
        b"\xff\xfe",
    ],
    ids=["fields missing", "no JSON", "empty", "nested", "long", "no UTF-8"],
)
def test_broken_lines_are_an_error_that_names_the_line(log: Path, line: bytes) -> None:
    append_finding(log, OPENED)
    log.write_bytes(log.read_bytes() + line + b"\n")
    with pytest.raises(RunFolderError, match="line 2") as caught:
        read_findings(log)
    assert len(str(caught.value)) < 600


def test_a_line_in_local_time_or_with_control_characters_is_broken(log: Path) -> None:
    line = json.loads(append_finding(log, OPENED).model_dump_json())
    for change in ({"at": "2026-01-01T00:00:00+02:00"}, {"at": "2026-01-01"}, {"title": "a\u0007"}):
        log.write_text(json.dumps(line | change) + "\n")
        with pytest.raises(RunFolderError, match=next(iter(change))):
            read_findings(log)


def test_a_log_that_contradicts_itself_is_refused(log: Path) -> None:
    line = json.loads(append_finding(log, OPENED).model_dump_json())
    log.write_text(json.dumps(line | {"action": "signed off"}) + "\n")
    with pytest.raises(RunFolderError, match="nobody opened it"):
        read_findings(log)
    log.write_text(2 * (json.dumps(line) + "\n"))
    with pytest.raises(RunFolderError, match="opens it again"):
        read_findings(log)


def test_links_are_neither_read_nor_written_through(log: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    append_finding(outside / "findings.jsonl", OPENED)
    before = (outside / "findings.jsonl").read_bytes()
    log.symlink_to(outside / "findings.jsonl")
    for touch in (read_findings, lambda path: append_finding(path, OPENED)):
        with pytest.raises(RunFolderError, match="link"):
            touch(log)
    log.unlink()
    victim = outside / "victim"
    victim.write_text("precious")
    log.with_name(LOCK).unlink(missing_ok=True)
    log.with_name(LOCK).symlink_to(victim)
    with pytest.raises(RunFolderError, match="link"):
        append_finding(log, OPENED)
    log.with_name(LOCK).unlink()
    log.with_name(f".findings.jsonl.{os.getpid()}.partial").symlink_to(victim)
    append_finding(log, OPENED)
    assert victim.read_text() == "precious"
    assert (outside / "findings.jsonl").read_bytes() == before
    assert len(read_findings(log).entries) == 1


def test_a_log_that_is_too_large_or_a_folder_is_refused(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with log.open("wb") as stream:
        stream.truncate(LARGEST_LOG + 1)
    with pytest.raises(RunFolderError, match="larger than 16 MiB"):
        read_findings(log)
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_findings(tmp_path / "folder.jsonl")
    log.unlink()
    append_finding(log, OPENED)
    monkeypatch.setattr(read, "LARGEST_LOG", log.stat().st_size + 10)
    with pytest.raises(UsageError, match="too large"):
        append_finding(log, OPENED)


def test_who_finds_the_log_locked_is_told_so(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr(append, "PATIENCE", 0.05)
    with FileLock(log.with_name(LOCK)), pytest.raises(OutputError, match="Another process"):
        append_finding(log, OPENED)


def test_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no such folder"):
        append_finding(tmp_path / "none" / "findings.jsonl", OPENED)


WRITER = """
import sys
from pathlib import Path
from audit.evidence.findings import append_finding
log = Path(sys.argv[1])
for i in range(int(sys.argv[2])):
    append_finding(log, {"action": "opened", "severity": "low", "title": f"{sys.argv[3]} {i}",
                         "reviewer": sys.argv[3], "note": "x" * 5000})
"""


def test_writers_at_the_same_time_lose_nothing(log: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(log), "6"]
    writers = [subprocess.Popen([*command, name]) for name in ("one", "two", "three")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = read_findings(log)
    assert check_chain(log) == []
    assert sorted(entry.title for entry in found.entries) == sorted(
        f"{name} {i}" for name in ("one", "two", "three") for i in range(6)
    )


def test_a_kill_at_any_moment_leaves_whole_lines(log: Path) -> None:
    for lines in (1, 5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(log), "100000", "victim"])
        before = len(read_findings(log).entries)
        deadline = time.monotonic() + 30
        while len(read_findings(log).entries) < before + lines:
            assert time.monotonic() < deadline
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert check_chain(log) == []
    append_finding(log, OPENED)
    assert read_findings(log).entries[-1].reviewer == "Ada"
