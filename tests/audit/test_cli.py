"""The commands as people and pipelines use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit import cli, options, terminal
from audit.config import CompareConfig, TrainGRPOConfig
from audit.errors import AuditError

Maker = Callable[..., Path]
RUNS = Path(__file__).resolve().parents[1] / "data" / "runs"


def run(*arguments: str, code: int = 0) -> str:
    """A command's stdout; the exit code is checked."""
    return both(*arguments, code=code)[0]


def both(*arguments: str, code: int) -> tuple[str, str]:
    """A command's stdout and stderr."""
    done = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


@pytest.fixture(autouse=True)
def small_preset(tiny_preset: Callable[..., None]) -> None:
    tiny_preset(drift_tokens=4, draws=100)


def test_compare_prints_one_json_object_and_nothing_else(
    tiny_model: Maker, tiny_suite: Maker, tmp_path: Path
) -> None:
    model, out = str(tiny_model()), str(tmp_path / "run")
    arguments = ("compare", model, model, "--suite", str(tiny_suite()), "--preset", "quick", "--out", out)
    found = json.loads(run(*arguments, "--json"))
    assert {"run", "base", "tuned", "behaviours", "drift", "warnings"} <= found.keys()
    behaviour = found["behaviours"][0]
    assert behaviour["verdict"] == "UNCHANGED"
    assert behaviour["change"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    text = run(*arguments)
    assert "UNCHANGED" in text
    assert "noise floor" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "verified" in run("verify", out)
    assert json.loads(run("verify", out, "--json"))["passed"]
    assert json.loads(run("show", out, "--json"))["run"] == out


def test_an_error_is_one_message_and_exit_code_1(tmp_path: Path) -> None:
    _, err = both("compare", str(tmp_path / "none"), str(tmp_path / "none"), code=1)
    assert "error:" in err
    assert "do:" in err
    assert "Traceback" not in err


def test_an_error_is_json_for_machines_and_a_traceback_for_debuggers(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    out, err = both("compare", missing, missing, "--json", "--debug", code=1)
    assert json.loads(out)["error"]["fix"]
    assert "Traceback" in err


def test_stopping_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from audit import pipeline

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run_compare", stop)
    assert "same command again" in both("compare", "a/b", "a/b", code=130)[1]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("not enough memory"),
    ],
)
def test_running_out_of_memory_names_the_setting_to_lower(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit import pipeline

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run_compare", fail)
    assert "--batch-size" in both("compare", "a/b", "a/b", code=1)[1]


def test_a_bug_of_ours_is_not_dressed_up_as_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    from audit import pipeline

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(pipeline, "run_compare", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run("compare", "a/b", "a/b")


@pytest.mark.parametrize("kind", ["compare", "train", "attack", "selftest"])
def test_show_knows_every_kind_of_run(kind: str) -> None:
    assert json.loads(run("show", str(RUNS / kind), "--json"))
    text = run("show", str(RUNS / kind))
    assert "MINIATURE" in text


def test_published_claims_are_held_against_a_run() -> None:
    said = json.loads(run("published", str(RUNS / "compare"), "--json"))["claims"]
    assert [claim["id"] for claim in said][:2] == ["neutral-output", "direction-preserved"]
    text = run("published", str(RUNS / "compare"))
    assert text.count("criterion") >= 5
    assert text.count("outcome") == 5
    run("published", str(RUNS / "train"), code=1)


def test_show_refuses_an_unfinished_run(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(RUNS / "compare", tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["stages"]["drift"]["status"] = "pending"
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    run("show", str(tmp_path / "run"), code=1)
    assert "drift" in run("verify", str(tmp_path / "run"), code=1)


def test_usage_errors_exit_with_1_because_2_means_policy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["--nonsense"], ["--nonsense", "--json"]):
        monkeypatch.setattr(sys, "argv", ["audit", "compare", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 1
    assert json.loads(capsys.readouterr().out)["error"]["fix"]
    monkeypatch.setattr(sys, "argv", ["audit", "--help"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0


def test_help_is_quick_to_import_and_80_columns_wide() -> None:
    environment = {**os.environ, "COLUMNS": "80"}
    code = (
        "import sys; sys.argv = ['audit', '--help']; from audit.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'torch', 'pandas', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert {"compare", "sample", "show", "published", "verify", "doctor", "train"} <= set(done.stdout.split())


@pytest.mark.parametrize("config", [CompareConfig, TrainGRPOConfig])
def test_every_option_has_a_help_text(config: type) -> None:
    docs = options.field_docs(config)
    assert set(config.__dataclass_fields__) <= docs.keys()


def test_a_dataclass_becomes_a_command() -> None:
    import typer

    @dataclass(frozen=True)
    class Toy:
        """Toy."""

        name: str
        """Its name."""
        size: int = 3
        """Its size."""
        tag: tuple[str, ...] = ("a",)
        """Its tags."""
        loud: bool = False
        """Whether it is loud."""

    seen: list[Any] = []

    @options.command_of(Toy, positional=("name",))
    def toy(config: Toy, json: bool) -> None:
        """Plays."""
        seen.append((config, json))

    app = typer.Typer()
    app.command()(toy)
    done = CliRunner().invoke(app, ["ball", "--size", "4", "--tag", "x", "--tag", "y", "--loud", "--json"])
    assert done.exit_code == 0, done.output
    assert seen == [(Toy("ball", 4, ("x", "y"), True), True)]
    assert "Its tags." in CliRunner().invoke(app, ["--help"]).output


def test_doctor_looks_at_everything() -> None:
    found = json.loads(run("doctor", "--json"))
    assert {"python", "libraries", "device", "memory", "cache", "demo model", "output"} == {
        check["name"] for check in found["checks"]
    }
    assert found["healthy"]
    assert "python" in run("doctor")


def test_doctor_fails_on_a_missing_library_and_an_unwritable_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from audit import doctor

    monkeypatch.setattr(doctor, "versions", lambda: {"torch": "not installed"})
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    found = json.loads(run("doctor", "--json", code=1))
    levels = {check["name"]: check["level"] for check in found["checks"]}
    assert levels["libraries"] == "error"
    assert levels["cache"] == "error"
    assert levels["output"] == "warning"


def test_doctor_warns_of_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    from audit import doctor

    monkeypatch.setattr(doctor, "LOW_MEMORY_GB", 1e9)
    monkeypatch.setattr(doctor, "LOW_DISK_GB", 1e9)
    text = run("doctor")
    assert "lower --batch-size" in text
    assert "UNMASK_CACHE" in text


def test_progress_bars_nest_and_notes_stay() -> None:
    from io import StringIO

    from rich.console import Console

    for is_terminal in (True, False):
        screen = StringIO()
        progress = terminal.TerminalProgress(Console(file=screen, force_terminal=is_terminal, width=100))
        with progress.task("outer", 2) as outer, progress.task("inner") as inner:
            outer(1)
            inner(1)
        progress.note("a note")
        assert "outer" in screen.getvalue()
        assert "a note" in screen.getvalue()


def test_text_of_others_cannot_steer_the_terminal() -> None:
    from io import StringIO

    from rich.console import Console

    assert terminal.printable("a\x1b[2J\nb") == "a\\x1b[2J\nb"
    screen = StringIO()
    progress = terminal.TerminalProgress(Console(file=screen, force_terminal=True, width=100))
    with progress.task("evil [/x] \x1b[8m", 1):
        pass
    assert "evil [/x]" in screen.getvalue()
    assert "\x1b[8m" not in screen.getvalue()


def test_running_out_of_memory_leaves_no_folder_behind(
    tiny_model: Maker, tiny_suite: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.stages import preflight

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(preflight, "run", fail)
    model, out = str(tiny_model()), tmp_path / "run"
    run("compare", model, model, "--suite", str(tiny_suite()), "--out", str(out), code=1)
    assert not out.exists()


def test_an_error_names_problem_place_and_fix() -> None:
    error = AuditError("It is wrong.", where="here", fix="mend it")
    assert error.lines() == ["It is wrong.", "  where: here", "  do:    mend it"]
    assert len(AuditError("It is wrong.", fix="mend it").lines()) == 2


def test_every_argument_and_option_says_what_it_is_for() -> None:
    import typer

    from audit.cli import app

    group: Any = typer.main.get_command(app)
    unexplained = [
        f"{name} {parameter.name}"
        for name, command in group.commands.items()
        if name != "train"
        for parameter in command.params
        if not parameter.help
    ]
    assert unexplained == []
