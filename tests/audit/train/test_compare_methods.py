from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from audit.errors import AuditError
from audit.evidence.run import open_run
from audit.options import field_docs
from audit.progress import Silent
from audit.train.compare_methods import MethodsConfig, command_of, print_compare_methods, run_compare_methods


def config(out: Path, **changes: object) -> MethodsConfig:
    settings: dict[str, object] = {
        "methods": "grpo,dppo,drpo:delta=12.5", "task": "bandit", "seeds": 2, "batches": 2, "staleness": 2,
        "out": str(out),
    }  # fmt: skip
    return MethodsConfig(**{**settings, **changes})  # type: ignore[arg-type]  # by name


def test_table_data_and_figure(tmp_path: Path) -> None:
    found = run_compare_methods(config(tmp_path), Silent())
    data = json.loads((tmp_path / "comparison.json").read_text())
    assert {row["method"] for row in data["rows"]} == {"grpo", "dppo_tv", "drpo:delta=12.5"}
    assert data["rows"] == json.loads(json.dumps(found.as_json()["rows"]))
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "comparison.md").read_text()
    assert "audit train compare --methods grpo,dppo,drpo:delta=12.5 --task bandit --staleness 2" in page
    assert str(tmp_path) not in page + json.dumps(data)
    stream = io.StringIO()
    print_compare_methods(found, Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    assert max(len(line) for line in lines[:-1]) <= 80
    assert lines[0] == "bandit"


def test_users_mistakes_write_nothing(tmp_path: Path) -> None:
    for changes, problem in (
        ({"staleness": 0}, "one and the same function"),
        ({"methods": "gropo"}, "no method called 'gropo'"),
        ({"task": "x"}, "no task called 'x'"),
    ):
        with pytest.raises(AuditError, match=problem):
            run_compare_methods(config(tmp_path / "new", **changes), Silent())
    assert not (tmp_path / "new").exists()


def test_the_command_repeats_every_setting_that_was_changed() -> None:
    wanted = "audit train compare --seeds 7 --learning-rate 0.1 --learning-rate 0.2"
    assert command_of(MethodsConfig(seeds=7, learning_rate=(0.1, 0.2))) == wanted


def test_every_option_has_a_help_text() -> None:
    docs = field_docs(MethodsConfig)
    assert set(docs) == set(MethodsConfig.__dataclass_fields__)


def test_on_a_model_every_run_is_a_run_of_its_own(
    tmp_path: Path, tiny_model: Callable[..., Path], tiny_suite: Callable[..., Path]
) -> None:
    asked = config(
        tmp_path / "out", methods="grpo,drpo:delta=12.5", base=str(tiny_model("llama")),
        suite=str(tiny_suite()), new_tokens=24, group_size=16, learning_rate=(1e-3,), seeds=1, staleness=1,
    )  # fmt: skip
    found = run_compare_methods(asked, Silent())
    assert [row["method"] for row in found.data["rows"]] == ["grpo", "drpo:delta=12.5"]
    assert all(row["ratio_distance"]["value"] > 0 for row in found.data["rows"])
    assert max(map(len, found.lines)) <= 80
    run = open_run(tmp_path / "out" / "runs" / "drpo-delta=12.5.0.001.0")
    assert run.result("train").method == "drpo"
    assert set(run.table("train", "train_steps")["step"]) == {0, 1, 2, 3}
    assert "| grpo | 0.001 |" in (tmp_path / "out" / "comparison.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").rglob("DONE")}
    assert run_compare_methods(asked, Silent()).data == found.data
    assert before == {path: path.stat().st_mtime_ns for path in before}
