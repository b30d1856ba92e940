"""Reading a run that may be broken, hostile or unfinished."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import RunFolderError
from audit.evidence.schema import TABLES
from dashboards import store as stores
from dashboards.store import LONGEST_LIST, LONGEST_TEXT, Store, inside, manifest_hash, open_store

RUNS = Path(__file__).parents[1] / "data" / "runs"
Copy = Callable[[str], Path]
WEIGHTS = "stages/weights/weights.parquet"


def manifest_of(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    return found


def change_manifest(run: Path, **fields: object) -> None:
    (run / "manifest.json").write_text(json.dumps({**manifest_of(run), **fields}), encoding="utf-8")


@pytest.mark.parametrize("kind", ["compare", "train", "attack", "selftest"])
def test_each_kind_opens_whole(kind: str) -> None:
    store = open_store(RUNS / kind)
    assert store.problems == []
    assert store.unfinished == []
    assert store.claims
    assert all(store.frame(name, limit=1).shape[0] == 1 for name in store.tables)
    store.close()


def test_tables_are_named_like_the_schema() -> None:
    assert set(open_store(RUNS / "compare").tables) <= set(TABLES)


def test_values_are_bound_and_columns_chosen() -> None:
    store = open_store(RUNS / "compare")
    hostile = "x' OR 1=1 --"
    assert store.frame("features", ["latent"], "hook = ?", [hostile]).empty
    found = store.frame("features", ["latent", "kind"], "latent < ?", [5], order="latent", limit=3)
    assert found["latent"].tolist() == [0, 1, 2]
    assert store.count("features", "latent < ?", [5]) == 5
    assert store.count("features") == 48


def test_two_tables_of_one_name_are_told_apart(miniature: Copy) -> None:
    run = miniature("compare")
    (run / "stages/elicit/items.parquet").write_bytes((run / "stages/behaviour/items.parquet").read_bytes())
    store = open_store(run)
    assert store.tables["items"].parent.name == "behaviour"
    assert store.tables["elicit_items"].parent.name == "elicit"


def test_a_missing_table_says_so() -> None:
    store = open_store(RUNS / "train")
    assert not store.has("features")
    assert store.why_no_table("features") == "the run has no table 'features'"
    with pytest.raises(RunFolderError, match="no table 'features'"):
        store.frame("features")


def test_a_truncated_table_is_named_and_the_rest_opens(miniature: Copy) -> None:
    run = miniature("compare")
    path = run / WEIGHTS
    path.write_bytes(path.read_bytes()[:-30])
    store = open_store(run)
    assert not store.has("weights")
    assert store.has("features")
    assert "is broken" in store.why_no_table("weights")
    assert store.problems == [store.why_no_table("weights")]


def test_rot_inside_a_table_is_an_error_of_ours(miniature: Copy) -> None:
    run = miniature("compare")
    path = run / "stages/features/examples.parquet"
    found = bytearray(path.read_bytes())
    found[40:900] = b"\xff" * 860
    path.write_bytes(found)
    store = open_store(run)
    with pytest.raises(RunFolderError, match="cannot be read"):
        store.frame("examples")


def test_a_foreign_table_is_refused(miniature: Copy) -> None:
    run = miniature("compare")
    pq.write_table(pa.table({"a": [1]}), run / WEIGHTS)
    assert "other columns" in open_store(run).why_no_table("weights")


def test_tables_too_large_are_refused(miniature: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MOST_ROWS", 10)
    assert "48 rows: it is not read" in open_store(miniature("compare")).why_no_table("weights")
    monkeypatch.setattr(stores, "LARGEST_TABLE", 10)
    assert "larger than" in open_store(RUNS / "compare").why_no_table("weights")


def test_an_answer_beyond_the_memory_limit_is_refused(
    miniature: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "SETTINGS", {**stores.SETTINGS, "memory_limit": "6MB"})
    store = open_store(miniature("compare"))
    with pytest.raises(RunFolderError, match="too large"):
        store.query("SELECT list(i::VARCHAR || 'x') AS l FROM range(9000000) t(i)")


def test_long_texts_and_lists_arrive_cut(miniature: Copy) -> None:
    run = miniature("compare")
    path = run / "stages/features/examples.parquet"
    frame = pd.read_parquet(path).head(1)
    frame["source"] = "s" * 1_000_000
    frame["tokens"] = [["t" * 100_000] * 2000]
    pq.write_table(TABLES["examples"].to_arrow(frame), path)
    found = open_store(run).frame("examples").iloc[0]
    assert len(found["source"]) == LONGEST_TEXT + len(" (cut)")
    assert len(found["tokens"]) == LONGEST_LIST
    assert len(found["tokens"][0]) < 300


@pytest.mark.parametrize("name", ["manifest.json", "claims.json", "stages/drift/result.json", WEIGHTS])
def test_links_out_of_the_run_are_not_followed(name: str, miniature: Copy, tmp_path: Path) -> None:
    run, outside = miniature("compare"), tmp_path / "outside"
    outside.write_bytes((run / name).read_bytes())
    (run / name).unlink()
    (run / name).symlink_to(outside)
    if name == "manifest.json":
        with pytest.raises(RunFolderError, match="leads out of the run folder"):
            open_store(run)
        with pytest.raises(RunFolderError, match="leads out of the run folder"):
            manifest_hash(run)
        return
    store = open_store(run)
    assert any("leads out of the run folder" in problem or "link" in problem for problem in store.problems)
    assert not store.claims or not store.has("weights") or store.result("drift") is None


def test_a_link_inside_the_run_is_followed(miniature: Copy) -> None:
    run = miniature("compare")
    (run / WEIGHTS).rename(run / "kept.parquet")
    (run / WEIGHTS).symlink_to(run / "kept.parquet")
    assert open_store(run).count("weights") == 48


def test_sql_sees_no_other_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    store = open_store(RUNS / "compare")
    for sql in (
        f"SELECT * FROM read_csv('{secret}')",  # noqa: S608  (it is the injection)
        f"COPY (SELECT 1) TO '{tmp_path / 'written.csv'}'",
        f"ATTACH '{tmp_path / 'x.db'}'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ):
        with pytest.raises(RunFolderError):
            store.query(sql)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.csv"]


@pytest.mark.parametrize("name", ["run[1]", "a*b", "what's", "??", "x; DROP"])
def test_odd_folder_names_are_names(name: str, miniature: Copy, tmp_path: Path) -> None:
    odd = tmp_path / name
    miniature("compare").rename(odd)
    assert open_store(odd).count("features") == 48


def test_an_unfinished_run_opens_with_what_it_has(miniature: Copy) -> None:
    run = miniature("compare")
    stages = manifest_of(run)["stages"]
    assert isinstance(stages, dict)
    stages["drift"] = {"status": "failed", "reason": "no memory"}
    change_manifest(run, stages=stages, claims=None)
    store = open_store(run)
    assert store.unfinished == ["drift"]
    assert store.why_missing("drift") == "stage drift was failed: no memory"
    assert "it has no claims" in store.problems[0]
    assert store.result("weights") is not None


def test_an_old_format_is_refused_with_a_word_on_what_to_do(miniature: Copy) -> None:
    run = miniature("compare")
    change_manifest(run, format=0)
    with pytest.raises(RunFolderError, match="format 0"):
        open_store(run)


def test_unknown_stages_and_hostile_names_open_nothing(miniature: Copy) -> None:
    run = miniature("compare")
    stages = manifest_of(run)["stages"]
    assert isinstance(stages, dict)
    change_manifest(run, stages={**stages, "../../etc": {"status": "done"}})
    store = open_store(run)
    assert store.problems == ["this version does not know the stage '../../etc'"]


def test_broken_documents_are_problems_not_crashes(miniature: Copy) -> None:
    run = miniature("compare")
    (run / "claims.json").write_text("{")
    (run / "stages/drift/result.json").write_text('{"forward": 1}')
    (run / "stages/weights/DONE").write_text("[]")
    store = open_store(run)
    assert store.claims == ()
    assert store.result("drift") is None
    assert "does not fit" in store.why_missing("drift")
    assert store.files("weights") == {}
    assert set(store.files("drift")) == {"drift.parquet", "result.json"}


def test_a_huge_document_is_not_read(miniature: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "LARGEST_JSON", 1000)
    with pytest.raises(RunFolderError, match="larger than"):
        open_store(miniature("compare"))


def test_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run in this folder"):
        open_store(tmp_path)


def test_inside_is_about_regular_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    assert inside(tmp_path, tmp_path / "file") == (tmp_path / "file").resolve()
    assert [inside(tmp_path, tmp_path / name) for name in ("loop", "pipe", ".", "absent", "../x")] == [
        None
    ] * 5


def test_reading_changes_nothing(miniature: Copy) -> None:
    run = miniature("compare")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    store: Store = open_store(run)
    for name in store.tables:
        store.frame(name)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
