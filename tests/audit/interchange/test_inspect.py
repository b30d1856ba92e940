"""Inspect logs of a run: a round trip through inspect_ai, pairs that join, hostile names."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from audit.errors import AuditError, RunFolderError, UsageError
from audit.evidence.files import read_json, sha256_file, write_json, write_table
from audit.evidence.run import RunFolder
from audit.evidence.schema import TABLES
from audit.interchange import inspect as interchange
from audit.interchange.inspect import export_inspect, file_name

MINIATURES = Path(__file__).resolve().parents[2] / "data" / "runs"
ROWS = [
    {
        "suite": suite, "item": f"item {i}", "entity": f"<b>e{i}</b>", "group": None, "category": "work",
        "split": "test", "template": template, "model": model,
        "showing_logp": -1.0, "not_showing_logp": -1.5 - i, "m": 0.5 + i,
        "answer": f"answer {i}" if suite == "partisan-lean" else None,
        "parsed": i > 0 if suite == "partisan-lean" else None,
    }
    for suite in ("gender-occupation", "partisan-lean")
    for model in ("base", "tuned")
    for template in ("plain", "chat")
    for i in range(3)
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(MINIATURES / "compare", tmp_path / "run")
    return with_items(tmp_path / "run", pd.DataFrame(ROWS))


def with_items(path: Path, frame: pd.DataFrame) -> Path:
    write_table(path / "stages" / "behaviour" / "items.parquet", TABLES["items"], frame)
    return path


@pytest.fixture
def log() -> Any:
    """`inspect_ai.log`; without the extra these tests are skipped, and say so."""
    return pytest.importorskip("inspect_ai.log", reason="the extra `inspect` is not installed")


def test_one_log_per_suite_and_model_that_inspect_reads_back(run: Path, tmp_path: Path, log: Any) -> None:
    written = export_inspect(run, tmp_path / "out" / "logs")
    assert [path.name for path in written] == [
        "gender-occupation_base.eval", "gender-occupation_tuned.eval",
        "partisan-lean_base.eval", "partisan-lean_tuned.eval",
    ]  # fmt: skip
    found = log.read_eval_log(str(written[3]))
    assert (found.status, found.eval.task, found.eval.model) == ("success", "partisan-lean", "unmask/tuned")
    assert len(found.samples) == 6
    (sample,) = [one for one in found.samples if one.id == "chat/item 1"]
    assert (sample.scores["m"].value, sample.scores["parsed"].value) == (1.5, True)
    assert sample.scores["m"].answer == sample.output.completion == "answer 1"
    assert sample.scores["m"].metadata == {"showing_logp": -1.0, "not_showing_logp": -2.5}
    assert sample.metadata == {"entity": "<b>e1</b>", "category": "work", "split": "test", "template": "chat"}
    assert "keeps no prompts" in sample.input
    metrics = found.results.scores[0].metrics
    assert metrics["mean"].value == pytest.approx(1.5)
    effect = metrics["effect (plain)"]
    assert (effect.value, effect.metadata["n"], effect.metadata["unit"]) == (0.5, 24, "nats")


def test_the_logs_carry_the_hashes_and_say_that_the_numbers_are_invented(
    run: Path, tmp_path: Path, log: Any
) -> None:
    found = log.read_eval_log(str(export_inspect(run, tmp_path / "logs")[0]))
    metadata = found.eval.metadata
    assert metadata["manifest_sha256"] == sha256_file(run / "manifest.json")
    assert (metadata["reference"], metadata["miniature"]) == ("invented-base", True)
    assert metadata["verified"] is False, "the table was replaced without its hash"
    assert found.eval.tags == ["MINIATURE: invented numbers"]
    assert found.eval.packages == RunFolder(run).manifest().versions


def test_pairs_have_the_same_samples_and_one_task(run: Path, tmp_path: Path, log: Any) -> None:
    base, tuned = (log.read_eval_log(str(path)) for path in export_inspect(run, tmp_path / "logs")[:2])
    assert [one.id for one in base.samples] == [one.id for one in tuned.samples]
    assert base.eval.dataset.sample_ids == tuned.eval.dataset.sample_ids
    assert (base.eval.task_id, base.eval.run_id) == (tuned.eval.task_id, tuned.eval.run_id)
    assert base.eval.eval_id != tuned.eval.eval_id
    assert {one.uuid for one in base.samples}.isdisjoint({one.uuid for one in tuned.samples})


def test_the_same_run_gives_the_same_log_twice(run: Path, tmp_path: Path, log: Any) -> None:
    first, again = (
        log.read_eval_log(str(export_inspect(run, tmp_path / name)[2])).model_dump(
            exclude={"location", "etag"}
        )
        for name in ("one", "two")
    )
    assert first == again


def test_hostile_names_stay_in_the_folder_and_are_text(run: Path, tmp_path: Path, log: Any) -> None:
    evil = "../../etc/<script>\u202e"
    path = run / "stages" / "behaviour" / "result.json"
    document = read_json(path)
    document["suites"][0]["name"] = evil
    write_json(path, document)
    with_items(run, pd.DataFrame([{**row, "suite": evil} for row in ROWS[:12]]))
    written = export_inspect(run, tmp_path / "logs")
    assert {one.parent for one in written} == {tmp_path / "logs"}
    assert sorted(one.name for one in (tmp_path / "logs").iterdir()) == sorted(one.name for one in written)
    assert log.read_eval_log(str(written[0])).eval.dataset.name == evil


def test_doubled_items_and_too_many_are_refused(
    run: Path, tmp_path: Path, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_items(run, pd.DataFrame(ROWS + ROWS[:1]))
    with pytest.raises(RunFolderError, match="stands twice"):
        export_inspect(run, tmp_path / "logs")
    monkeypatch.setattr(interchange, "MOST_SAMPLES", 2)
    with pytest.raises(UsageError, match="at most 2"):
        export_inspect(run, tmp_path / "logs")
    assert not list((tmp_path / "logs").glob("*")) if (tmp_path / "logs").exists() else True


def test_a_place_that_cannot_be_written_is_an_error(run: Path, tmp_path: Path, log: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match="cannot be written"):
        export_inspect(run, tmp_path / "file" / "logs")


def test_without_the_extra_the_error_names_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interchange, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"unmask\[inspect\]"):
        export_inspect(run, tmp_path / "logs")


def test_runs_without_items_are_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interchange, "find_spec", lambda name: object())
    with pytest.raises(UsageError, match="no behaviour on items"):
        export_inspect(MINIATURES / "train", tmp_path / "logs")
    path = run / "stages" / "behaviour" / "items.parquet"
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(RunFolderError, match="outside its folder"):
        export_inspect(run, tmp_path / "logs")


def test_file_names_are_plain_and_never_shared() -> None:
    assert file_name("bbq-age") == "bbq-age"
    names = ["../x", "x", "..", "", "a/b", "a b", "a-b", "A" * 300, "A" * 301, "漢"]
    found = [file_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert all(name.replace("-", "").isalnum() and len(name) < 80 for name in found)
