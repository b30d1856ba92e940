"""From a run to sections: nothing is empty, every number has its claim or its file, every gap its reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import RunFolderError
from audit.evidence.findings import Entry, append_finding
from reports.content import report_of
from reports.content.gate import Gate, GateRow, gate_blocks
from reports.content.limits import reasons_in
from reports.data import as_data, report_json
from reports.ledger import Evidence, UnreadableError, evidence_of, read_columns
from reports.model import Block, Card, Notice, Paragraph, Picture, Report, Section, Span, Table
from reports.text import clean
from reports.verify import says

RUNS = Path(__file__).parents[1] / "data" / "runs"
KINDS = ("compare", "train", "attack", "selftest")

OF_A_PAIR = (
    "behaviour", "confounds", "elicitation", "directions", "features", "switches", "bypass", "relearn",
    "drift", "attack",
)  # fmt: skip
LAST = ("power", "findings", "limits", "reproduction", "crosswalk", "evidence")


def spans(value: Any) -> Iterator[Span]:
    """Every span below a section or block."""
    if isinstance(value, Span):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from spans(one)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from spans(getattr(value, name))


def words(section: Section) -> str:
    """The section's text, gaps and notices included."""
    return " ".join(
        [span.text for span in spans(section)] + [b.title for b in section.blocks if isinstance(b, Notice)]
    )


def blocks(report: Report, name: str) -> tuple[Block, ...]:
    return next(section.blocks for section in report.sections if section.name == name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_section_is_there_and_says_something(kind: str, documents: Any) -> None:
    report = documents(kind)
    middle = () if kind == "selftest" else OF_A_PAIR
    assert tuple(s.name for s in report.sections) == ("verdict", "identity", "scope", *middle, *LAST)
    for section in report.sections:
        assert section.question.endswith(("?", ".")), section.name
        assert len(words(section)) > 60, section.name
    assert report.miniature
    assert any(isinstance(b, Notice) and b.tone == "invented" for b in blocks(report, "verdict"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_claim_is_in_the_index_and_every_key_prints_what_the_claim_says(
    kind: str, evidences: Any, documents: Any
) -> None:
    evidence = evidences(kind)
    report = documents(kind)
    keyed = [span for section in report.sections for span in spans(section) if span.key is not None]
    for span in keyed:
        assert says(evidence.entries[span.key - 1].claim, span.text)
    listed = {span.key for span in spans(blocks(report, "evidence"))}
    assert listed >= {entry.number for entry in evidence.entries}


NUMBER = re.compile(r"\d\.\d")


@pytest.mark.parametrize("kind", KINDS)
def test_no_number_stands_outside_the_ledger_without_naming_its_file(kind: str, documents: Any) -> None:
    report = documents(kind)
    measured = [
        s
        for s in report.sections
        if s.name not in ("identity", "limits", "reproduction", "crosswalk", "evidence")
    ]
    for section in measured:
        for block in section.blocks:
            if isinstance(block, Table | Picture) and block.source is not None:
                assert re.fullmatch(r"[0-9a-f]{64}", block.source.sha256)
                continue
            free = [s for s in spans(block) if s.key is None and s.style != "code"]
            assert not [s.text for s in free if NUMBER.search(s.text)], (section.name, block)


def test_the_verdict_page_has_a_card_per_behaviour_with_its_effect(evidences: Any) -> None:
    evidence = evidences("compare")
    cards = [b for b in blocks(report_of(evidence), "verdict") if isinstance(b, Card)]
    verdicts = {b.name: b.verdict for b in evidence.run.result("verdict").behaviours}
    assert {card.name: card.word for card in cards} == verdicts
    for card in cards:
        keys = [span.key for span in card.lead if span.key]
        named = [evidence.entries[key - 1].claim.id for key in keys]
        assert named == [f"behaviour/{card.name}/plain/test/{what}" for what in ("base", "tuned", "change")]


def test_a_skipped_stage_prints_as_a_gap_with_its_reason(copied: Callable[[str], Path], edits: Any) -> None:
    run = copied("compare")
    edits.skip(run, "features", "switches", "bypass", "elicit", "directions")
    report = report_of(evidence_of(run))
    for name in ("features", "switches", "bypass", "elicitation", "directions"):
        (only,) = blocks(report, name)
        assert isinstance(only, Notice)
        assert only.tone == "gap"
        assert "left out by --skip" in only.lines[0][0].text
    limits = next(s for s in report.sections if s.name == "limits")
    assert words(limits).count("left out by --skip") >= 10


def test_a_failed_stage_leaves_a_report_of_gaps(copied: Callable[[str], Path], edits: Any) -> None:
    run = copied("train")

    def fail(manifest: Any) -> None:
        manifest["claims"] = None
        manifest["stages"]["train"] = {"status": "failed", "reason": "memory ran out"}

    edits.change(run / "manifest.json", fail)
    report = report_of(evidence_of(run))
    assert "memory ran out" in words(report.sections[0])
    assert "memory ran out" in words(next(s for s in report.sections if s.name == "limits"))
    assert not [span for section in report.sections for span in spans(section) if span.key is not None]


def test_changed_evidence_withholds_its_numbers_and_nothing_else(
    copied: Callable[[str], Path], edits: Any
) -> None:
    run = copied("compare")
    edits.change(run / "stages/drift/result.json", lambda found: {**found, "new_tokens": 13})
    evidence = evidence_of(run)
    assert evidence.slot("drift/forward").style == "gap"
    assert evidence.slot("weights/relative_change").style == "plain"
    assert evidence.result("drift") is None
    report = report_of(evidence)
    assert "was changed after it was written" in words(next(s for s in report.sections if s.name == "drift"))
    assert any(isinstance(b, Notice) and b.tone == "gap" for b in blocks(report, "verdict"))


def test_an_edited_ledger_is_withheld_whole(copied: Callable[[str], Path], edits: Any) -> None:
    run = copied("train")
    edits.change(run / "claims.json", lambda found: found["claims"][0].update(value=0.9))
    evidence = evidence_of(run)
    assert all(not entry.holds for entry in evidence.entries)
    assert not [s for section in report_of(evidence).sections for s in spans(section) if s.key is not None]


def test_a_sentence_that_does_not_follow_from_the_results_is_not_printed(
    copied: Callable[[str], Path], edits: Any
) -> None:
    run = copied("train")
    edits.change(
        run / "claims.json", lambda found: found["claims"][0].update(statement="All is well: 0.9999.")
    )
    manifest = evidence_of(run).run
    manifest.write_claims(manifest.claims())
    evidence = evidence_of(run)
    entry = evidence.entries[0]
    assert (entry.holds, entry.reworded) == (True, True)
    assert "0.9999" not in " ".join(span.text for s in report_of(evidence).sections for span in spans(s))
    assert any("its words are not what the results say" in problem for problem in evidence.problems)


@pytest.mark.parametrize("file", ["../../outside.json", "/etc/hostname"])
def test_evidence_outside_the_run_is_not_read(copied: Callable[[str], Path], file: str, edits: Any) -> None:
    run = copied("train")
    (run.parents[1] / "outside.json").write_text("{}", encoding="utf-8")
    edits.change(run / "claims.json", lambda found: found["claims"][0]["evidence"].update(file=file))
    manifest = evidence_of(run).run
    manifest.write_claims(manifest.claims())
    assert "outside the run folder" in evidence_of(run).entries[0].problems[0]


def test_links_out_of_the_run_are_not_followed(copied: Callable[[str], Path]) -> None:
    run = copied("train")
    target = run / "stages/train/result.json"
    elsewhere = run.parent / "elsewhere.json"
    target.rename(elsewhere)
    target.symlink_to(elsewhere)
    evidence = evidence_of(run)
    assert evidence.result("train") is None
    assert all("outside the run folder" in entry.problems[0] for entry in evidence.entries)


@pytest.mark.parametrize("name", ["manifest.json", "claims.json"])
def test_a_document_that_is_a_link_out_of_the_run_is_refused(
    copied: Callable[[str], Path], name: str
) -> None:
    run = copied("train")
    (run / name).rename(run.parent / name)
    (run / name).symlink_to(run.parent / name)
    with pytest.raises(RunFolderError, match="leads out of it"):
        evidence_of(run)


@pytest.mark.parametrize("created", ["yesterday", "", "2026-13-01T00:00:00+00:00", "99999-01-01"])
def test_a_time_that_is_none_is_refused(copied: Callable[[str], Path], edits: Any, created: str) -> None:
    run = copied("train")
    edits.change(run / "manifest.json", lambda found: found.update(created=created))
    with pytest.raises(RunFolderError, match="time"):
        report_of(evidence_of(run))


def test_the_outcome_of_an_attack_stands_first(copied: Callable[[str], Path], edits: Any) -> None:
    run = copied("attack")
    for outcome, tone in (("HARMED", "block"), ("NOT HARMED", "note"), ("INCONCLUSIVE", "inconclusive")):
        fields = {
            "outcome": outcome,
            "why": "so it was",
            "conclusive": outcome != "INCONCLUSIVE",
            "smallest_dose": None,
        }
        edits.change(run / "stages/attack/result.json", lambda found, fields=fields: found.update(fields))
        edits.seal(run)
        report = report_of(evidence_of(run))
        (notice,) = [
            b for b in blocks(report, "verdict") if isinstance(b, Notice) and b.title.startswith("Attack")
        ]
        assert (notice.title, notice.tone) == (f"Attack: {outcome}", tone)
        assert notice.lines[0][0].key
        assert "Smallest harmful dose: none found" in words(
            next(s for s in report.sections if s.name == "attack")
        )


def test_adapters_and_what_was_allowed_are_named(copied: Callable[[str], Path], edits: Any) -> None:
    run = copied("train")
    fields = {"adapter": {"reference": "org/lora", "binds_to": None}, "pickled": True, "quantisation": "Q4_1"}
    edits.change(run / "manifest.json", lambda found: found["base"].update(fields))
    said = words(next(s for s in report_of(evidence_of(run)).sections if s.name == "identity"))
    for text in ("org/lora", "does not say which base", "pickled weights", "quantised Q4_1"):
        assert text in said


def test_a_huge_document_is_refused(copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.ledger.LARGEST_DOCUMENT", 100)
    with pytest.raises(RunFolderError, match="an audit writes far less"):
        evidence_of(copied("train"))


def test_findings_stand_with_their_sign_offs_and_their_claims(copied: Callable[[str], Path]) -> None:
    run = copied("train")
    log = run / "findings.jsonl"
    claim = "train/reward_first"
    opened = append_finding(
        log,
        Entry(
            action="opened",
            reviewer="Ada",
            severity="high",
            title="Look here",
            note="why",
            evidence=[claim, "h/3"],
        ),
    )
    append_finding(log, Entry(action="signed off", reviewer="Grace", finding=opened.finding, note="seen"))
    report = report_of(evidence_of(run))
    said = words(next(s for s in report.sections if s.name == "findings"))
    assert all(word in said for word in ("Look here", "high", "signed off", "Grace", "Ada", "why", "h/3"))
    assert any(span.key for span in spans(blocks(report, "findings")))


def test_a_broken_log_of_findings_is_said(copied: Callable[[str], Path]) -> None:
    run = copied("train")
    (run / "findings.jsonl").write_text("{broken\n", encoding="utf-8")
    report = report_of(evidence_of(run))
    first = blocks(report, "findings")[0]
    assert isinstance(first, Notice)
    assert first.title == "The log of findings does not verify"


def gate(evidence: Evidence, **fields: Any) -> Gate:
    row = {"subject": "drift", "status": "violated", "required": "at most 0.1", "observed": "1.2 [1.1, 1.3]",
           "claim": "drift/forward", "n": 24, "why": "above"}  # fmt: skip
    rows = (
        GateRow(rule="budget", **row),
        GateRow(rule="age", **{**row, "claim": None, "observed": "not measured"}),
    )
    values = {"word": "BLOCK", "title": "Release", "policy": "p.toml", "sha256": "a" * 64,
              "manifest": evidence.manifest_sha256, "rows": rows}  # fmt: skip
    return Gate(**{**values, **fields})


def test_a_gate_stands_first_and_its_numbers_come_from_the_ledger(evidences: Any) -> None:
    evidence = evidences("compare")
    notice, table = gate_blocks(evidence, gate(evidence))
    assert isinstance(notice, Notice)
    assert (notice.tone, notice.title) == ("block", "Release gate: BLOCK")
    assert isinstance(table, Table)
    forward = evidence.entry("drift/forward")
    assert forward is not None
    assert table.rows[0][4][0].key == forward.number
    assert table.rows[1][4][0].style == "gap"


def test_a_gate_on_another_state_of_the_run_is_not_printed(evidences: Any) -> None:
    evidence = evidences("compare")
    (notice,) = gate_blocks(evidence, gate(evidence, manifest="0" * 64))
    assert isinstance(notice, Notice)
    assert notice.tone == "gap"


def test_tables_that_cannot_be_used_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = RUNS / "compare/stages/weights/weights.parquet"
    assert len(read_columns(good, "weights", ("kind", "layer"))) > 0
    broken = tmp_path / "weights.parquet"
    broken.write_bytes(good.read_bytes()[:200])
    for path, name in ((broken, "weights"), (good, "items"), (tmp_path / "none.parquet", "weights")):
        with pytest.raises(UnreadableError, match=name):
            read_columns(path, name, ("kind",))
    monkeypatch.setattr("reports.ledger.MOST_ROWS", 3)
    with pytest.raises(UnreadableError, match="too many to draw"):
        read_columns(good, "weights", ("kind",))
    monkeypatch.setattr("reports.ledger.MOST_ROWS", 10**6)
    monkeypatch.setattr("reports.ledger.LARGEST_TABLE", 3)
    with pytest.raises(UnreadableError, match="too many to draw"):
        read_columns(good, "weights", ("kind",))


def test_a_table_with_other_columns_leaves_a_gap_where_its_figure_was(
    copied: Callable[[str], Path], edits: Any
) -> None:
    run = copied("attack")
    pq.write_table(pa.table({"x": [1]}), run / "stages/attack/attack_doses.parquet")
    edits.seal(run)
    titles = [b.title for b in blocks(report_of(evidence_of(run)), "attack") if isinstance(b, Notice)]
    assert "No figure: Dose curve" in titles


def test_reasons_are_found_at_any_depth() -> None:
    found = {
        "behaviours": [
            {"name": "a", "not_measured": ["x"], "why_not": "too weak", "set": {"why_not": ["a list"]}},
            {"suite": "b", "not_tried": "no change", "unreadable": None, "skipped": ["y"]},
        ],
        "not_measured": ["z"],
    }  # fmt: skip
    assert list(reasons_in(found)) == ["a: x", "a: not searched, too weak", "b: no change", "b: y", "z"]


def test_every_sentence_on_what_is_missing_is_among_the_limits(evidences: Any) -> None:
    evidence = evidences("compare")
    limits = words(next(s for s in report_of(evidence).sections if s.name == "limits"))
    for stage in ("features", "bypass", "elicit"):
        for sentence in reasons_in(evidence.result(stage).model_dump(mode="json")):
            assert clean(sentence) in limits


def test_the_document_as_data_has_its_blocks_and_hashes_its_figures(documents: Any) -> None:
    report = documents("train")
    found = json.loads(report_json(report, figures=False))
    assert found["format"] == 1
    types = {block["type"] for section in found["sections"] for block in section["blocks"]}
    assert types <= {"paragraph", "bullets", "heading", "facts", "table", "picture", "card", "notice"}
    assert '"svg"' not in json.dumps(found)
    assert any("svg" in block for section in as_data(report)["sections"] for block in section["blocks"])


@pytest.mark.parametrize("measured", [True, False])
def test_the_record_of_the_thresholds_is_a_gap_only_where_there_is_none(
    measured: bool, copied: Callable[[str], Path], edits: Any
) -> None:
    run, record = copied("compare"), "12 of 12 right"
    selftest = json.loads((RUNS / "selftest/stages/selftest/result.json").read_text())
    told = {"calibration": record, "record": selftest if measured else None}
    edits.change(run / "stages/verdict/result.json", lambda found: found.update(told))
    edits.seal(run)
    first, *more = blocks(report_of(evidence_of(run)), "power")
    assert isinstance(first, Paragraph if measured else Notice)
    assert record in "".join(span.text for span in spans(first))
    titles = [block.title for block in more if isinstance(block, Table)]
    assert (
        ("Planted truth against verdict" in titles) == ("What the rule compares with" in titles) == measured
    )
