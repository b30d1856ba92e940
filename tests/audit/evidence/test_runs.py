"""Run folders: miniatures, tampering, versions, locks, resuming, pointers."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from audit.errors import AuditError, OutputError, RunFolderError
from audit.evidence import provenance, stage
from audit.evidence.files import read_json, sha256_file, write_json
from audit.evidence.findings import FINDINGS, append_finding
from audit.evidence.invent import invented_rows
from audit.evidence.miniature import write_miniatures
from audit.evidence.run import RunFolder, open_run, writing_run
from audit.evidence.schema import TABLES
from audit.evidence.schema.documents import Document, Estimate, Manifest
from audit.evidence.schema.results import TrainResult
from audit.evidence.text import text_of
from audit.evidence.verify import resolve_pointer, verify_run
from audit.summary import compare_summary

COMMITTED = Path(__file__).resolve().parents[2] / "data" / "runs"
KINDS = ("compare", "train", "attack", "selftest")


@pytest.fixture
def mini(tmp_path: Path) -> RunFolder:
    shutil.copytree(COMMITTED / "compare", tmp_path / "compare")
    return RunFolder(tmp_path / "compare")


def edit(path: Path, change: Callable[[Any], None]) -> None:
    document = read_json(path)
    change(document)
    write_json(path, document)


def test_a_log_of_findings_is_checked_with_the_run(mini: RunFolder) -> None:
    log = mini.path / FINDINGS
    for title in ("drift", "mask"):
        entry = {"action": "opened", "severity": "low", "title": title, "reviewer": "Ada"}
        append_finding(log, entry)
    assert verify_run(mini).problems == ()
    log.write_text(log.read_text().replace("drift", "draft"))
    assert any(problem.startswith(FINDINGS) for problem in verify_run(mini).problems)
    log.write_text("torn")
    assert any(problem.startswith(FINDINGS) for problem in verify_run(mini).problems)


@pytest.mark.parametrize("kind", KINDS)
def test_the_committed_miniatures_verify_and_say_what_they_are(kind: str) -> None:
    run = open_run(COMMITTED / kind)
    assert verify_run(run).problems == ()
    assert run.manifest().miniature


def test_the_command_makes_the_committed_miniatures(tmp_path: Path) -> None:
    made = write_miniatures(tmp_path)
    assert [p.name for p in made] == list(KINDS)
    for run in made:
        for path in run.rglob("*.json"):
            assert path.read_bytes() == (COMMITTED / path.relative_to(tmp_path)).read_bytes(), path
    write_miniatures(tmp_path)


def test_a_changed_number_is_found(mini: RunFolder) -> None:
    edit(mini.stage_path("drift") / "result.json", lambda d: d["forward"]["sequence_kl"].update(value=0.0))
    problems = verify_run(mini).problems
    assert any("result.json was changed" in p for p in problems)
    assert any("drift/forward" in p for p in problems)


def test_a_changed_claim_is_found(mini: RunFolder) -> None:
    def lie(document: Any) -> None:
        claim = next(c for c in document["claims"] if c["id"].endswith("/change"))
        claim["value"] = 0.0

    edit(mini.path / "claims.json", lie)
    problems = verify_run(mini).problems
    assert any("claims.json was changed" in p for p in problems)
    assert any("says (0.0" in p for p in problems)


def test_a_claim_that_points_nowhere_or_outside_is_found(mini: RunFolder) -> None:
    def lie(document: Any) -> None:
        document["claims"][0]["evidence"]["pointer"] = "/behaviours/99/verdict"
        document["claims"][1]["evidence"]["file"] = "../elsewhere.json"
        document["claims"][2]["evidence"]["file"] = "stages/none/result.json"

    edit(mini.path / "claims.json", lie)
    problems = " ".join(verify_run(mini).problems)
    assert "nothing at /behaviours/99/verdict" in problems
    assert "outside the run folder" in problems
    assert "stages/none/result.json is missing" in problems


def test_missing_added_and_unfinished_stages_are_found(mini: RunFolder) -> None:
    (mini.stage_path("features") / "features.parquet").unlink()
    (mini.stage_path("drift") / "extra.txt").write_text("?")
    (mini.stage_path("weights") / "DONE").unlink()
    edit(
        mini.path / "manifest.json",
        lambda m: m["stages"]["bypass"].update(status="failed", reason="no memory"),
    )
    problems = " ".join(verify_run(mini).problems)
    for text in ("features.parquet is missing", "extra.txt does not belong", "DONE is missing", "no memory"):
        assert text in problems


def test_changed_words_are_found_even_with_the_hash_mended(mini: RunFolder) -> None:
    def lie(document: Any) -> None:
        document["claims"][0]["statement"] = "Nothing to see."
        document["claims"][1]["n"] = 10**6

    edit(mini.path / "claims.json", lie)
    sha256 = sha256_file(mini.path / "claims.json")
    edit(mini.path / "manifest.json", lambda m: m.update(claims=sha256))
    problems = verify_run(mini).problems
    assert sum("its words or numbers" in problem for problem in problems) == 2


def test_an_emptied_run_is_no_verified_run(mini: RunFolder) -> None:
    edit(mini.path / "claims.json", lambda d: d.update(claims=[]))
    sha256 = sha256_file(mini.path / "claims.json")
    edit(mini.path / "manifest.json", lambda m: m.update(stages={}, claims=sha256))
    problems = " ".join(verify_run(mini).problems)
    assert "stage verdict is missing" in problems
    assert "list of claims" in problems


def test_a_result_changed_with_its_hash_in_done_is_found(mini: RunFolder) -> None:
    path = mini.stage_path("preflight")
    edit(path / "result.json", lambda d: d.update(warnings=[]))
    sha256 = sha256_file(path / "result.json")
    edit(path / "DONE", lambda d: d["files"].update({"result.json": sha256}))
    assert verify_run(mini).problems == ("stages/preflight/DONE is not the one that the manifest names",)


def test_changed_settings_and_a_run_without_claims_are_found(mini: RunFolder) -> None:
    (mini.path / "config.toml").write_text("seed = 1")
    edit(mini.path / "manifest.json", lambda m: m.update(claims=None))
    problems = " ".join(verify_run(mini).problems)
    assert "config.toml" in problems
    assert "not finished" in problems


def test_damaged_results_are_findings_not_crashes(mini: RunFolder) -> None:
    edit(mini.stage_path("verdict") / "result.json", lambda d: d["behaviours"].pop())
    edit(mini.path / "claims.json", lambda d: d["claims"][0]["evidence"].update(pointer=""))
    assert not verify_run(mini).passed
    with pytest.raises(RunFolderError, match="do not fit the suites"):
        compare_summary(mini)
    with pytest.raises(RunFolderError, match="does not know the stage 'magic'"):
        mini.result("magic")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(format=99), "format 99"),
        (lambda m: m.update(surprise=1), "does not fit"),
        (lambda m: m["base"].pop("identity"), "base.identity"),
    ],
)
def test_a_manifest_of_another_version_is_refused(
    mini: RunFolder, change: Callable[[Any], None], says: str
) -> None:
    edit(mini.path / "manifest.json", change)
    with pytest.raises(RunFolderError) as caught:
        open_run(mini.path)
    assert says in str(caught.value)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run in this folder"):
        open_run(tmp_path)


def manifest() -> Manifest:
    found = open_run(COMMITTED / "train").manifest()
    return found.model_copy(update={"stages": {}, "claims": None})


def test_two_writers_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with writing_run(path, manifest(), ""):
        pass
    with (
        FileLock(path / ".lock"),
        pytest.raises(OutputError, match="Another process"),
        writing_run(path, manifest(), ""),
    ):
        pass


def test_another_config_is_refused_by_name(tmp_path: Path) -> None:
    with writing_run(tmp_path / "run", manifest(), "steps = 1\n"):
        pass
    with (
        pytest.raises(RunFolderError, match="config \\(steps\\)"),
        writing_run(tmp_path / "run", manifest(), "steps = 2\n"),
    ):
        pass


def test_what_a_kill_left_before_the_first_manifest_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / ".lock").touch()
    (path / "config.toml").touch()
    with writing_run(path, manifest(), "") as run:
        assert run.manifest().kind == "train"


def test_an_error_before_the_first_stage_removes_all_new_folders(tmp_path: Path) -> None:
    with (
        pytest.raises(AuditError),
        writing_run(tmp_path / "a" / "b" / "run", manifest(), ""),
    ):
        raise AuditError("wrong", fix="mend")
    assert list(tmp_path.iterdir()) == []


def test_an_error_touches_nothing_that_others_put_beside_the_run(tmp_path: Path) -> None:
    neighbour = tmp_path / "runs" / "neighbour" / "thesis.txt"
    with contextlib.suppress(AuditError), writing_run(tmp_path / "runs" / "mine", manifest(), ""):
        neighbour.parent.mkdir()
        neighbour.write_text("years of work")
        raise AuditError("wrong", fix="mend")
    assert neighbour.read_text() == "years of work"
    assert not (tmp_path / "runs" / "mine").exists()


def test_who_loses_the_race_for_a_new_folder_leaves_it_to_the_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.evidence import run as module

    original, winner = module._make_folders, FileLock(tmp_path / "run" / ".lock")

    def overtaken(path: Path) -> list[Path]:
        made = original(path)
        winner.acquire()
        return made

    monkeypatch.setattr(module, "_make_folders", overtaken)
    with pytest.raises(OutputError, match="Another process"), writing_run(tmp_path / "run", manifest(), ""):
        pass
    assert (tmp_path / "run" / ".lock").exists()
    winner.release()


def test_a_skipped_stage_is_no_gap_unless_its_kind_of_run_needs_it(mini: RunFolder) -> None:
    def unreachable(folder: stage.StageFolder) -> Document:
        raise AssertionError("skipped stages do not run")

    assert stage.run_stage(mini, "directions", {}, unreachable, skip="asked for") is None
    assert mini.optional("directions") is None
    assert mini.manifest().stages["directions"].reason == "asked for"
    assert not any("directions" in problem for problem in verify_run(mini).problems)
    stage.run_stage(mini, "drift", {}, unreachable, skip="asked for")
    assert any("stage drift is not done: asked for" in problem for problem in verify_run(mini).problems)


def test_a_damaged_part_is_computed_again(run: RunFolder) -> None:
    table = TABLES["train_steps"]
    frame = invented_rows(table, np.random.default_rng(0), 3)
    folder = stage.StageFolder(run.stage_path("train"), "k" * 64)
    calls: list[int] = []

    def compute() -> Any:
        calls.append(1)
        return frame

    folder.part("a", "train_steps", compute)
    folder.part("a", "train_steps", compute)
    assert len(calls) == 1
    (folder.parts / "a.parquet").write_bytes(b"junk")
    assert len(folder.part("a", "train_steps", compute)) == 3
    assert len(calls) == 2


def test_a_damaged_config_and_an_impossible_name_are_refused(tmp_path: Path) -> None:
    with writing_run(tmp_path / "run", manifest(), ""):
        pass
    (tmp_path / "run" / "config.toml").write_text("= nonsense")
    with pytest.raises(RunFolderError, match="damaged"), writing_run(tmp_path / "run", manifest(), ""):
        pass
    for use in (open_run, lambda path: writing_run(path, manifest(), "").__enter__()):
        with pytest.raises(OutputError, match="too long"):
            use(tmp_path / ("x" * 300))


RESULT = TrainResult(
    method="grpo",
    suite=None,
    steps=1,
    reward_first=0.0,
    reward_last=1.0,
    dead_groups=0.0,
    exact_kl_last=0.0,
    had_gradient=True,
    adapter=None,
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    with writing_run(tmp_path / "run", manifest(), "") as found:
        return found


def test_a_stage_is_done_once_per_key(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def body(folder: stage.StageFolder) -> Document:
        calls.append(folder.key)
        return RESULT

    for inputs in ({"a": 1}, {"a": 1}, {"a": 2}):
        assert stage.run_stage(run, "train", inputs, body) == RESULT
    assert len(calls) == 2, "other inputs make it again, the same do not"
    monkeypatch.setattr(stage, "code_version", lambda: "other code")
    stage.run_stage(run, "train", {"a": 2}, body)
    assert len(calls) == 3, "other code makes it again"
    (run.stage_path("train") / "DONE").write_text("{")
    stage.run_stage(run, "train", {"a": 2}, body)
    assert len(calls) == 4, "a broken DONE is no DONE"


def test_a_failed_stage_is_recorded_and_leaves_no_done(run: RunFolder) -> None:
    def body(folder: stage.StageFolder) -> Document:
        (folder.path / "half.txt").write_text("half")
        raise AuditError("no memory", fix="lower --batch-size")

    with pytest.raises(AuditError, match="no memory"):
        stage.run_stage(run, "train", {}, body)
    assert run.manifest().stages["train"].reason == "no memory"
    assert not (run.stage_path("train") / "DONE").exists()
    stage.run_stage(run, "train", {}, lambda _: RESULT)
    assert not (run.stage_path("train") / "half.txt").exists()


def test_pointers_reach_what_they_name() -> None:
    document = {"a/b": [{"~": 5}]}
    assert resolve_pointer(document, "/a~1b/0/~0") == 5


def test_an_unbounded_interval_survives_json() -> None:
    class Found:
        value, low, high, n = 1.0, float("-inf"), float("inf"), 3

    estimate = Estimate.of(Found())
    assert json.loads(estimate.model_dump_json()) == {"value": 1.0, "low": None, "high": None, "n": 3}
    assert text_of(estimate) == "1 [-inf, inf]"


def test_provenance_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.git_state() is None
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert provenance.git_state() is None
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package",))
    assert provenance.versions()["no-such-package"] == "not installed"
