"""Starting and ending the dashboard."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from audit.errors import UsageError
from dashboards.launch import LOCAL, SCRIPT, free_port, options, serve, url
from dashboards.runs import RUNS_VARIABLE, given_runs, runs_in

RUNS = Path(__file__).parents[1] / "data" / "runs"
SERVE = """
import sys
from pathlib import Path
from dashboards.launch import serve
say = lambda address: print(address, "torch" in sys.modules, flush=True)
serve([Path(sys.argv[1])], port=int(sys.argv[2]), headless=True, announce=say)
"""


@contextmanager
def listening() -> Iterator[int]:
    with closing(socket.socket()) as taken:
        taken.bind((LOCAL, 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_taken_port_is_passed_over() -> None:
    with listening() as port:
        assert free_port(LOCAL, port) != port


def test_a_port_that_was_asked_for_and_is_taken_is_an_error() -> None:
    with listening() as port, pytest.raises(UsageError, match="Something else listens"):
        serve([RUNS / "compare"], port=port)


@pytest.mark.parametrize(
    ("address", "port"), [("203.0.113.7", 8501), ("no such host", 8501), ("x" * 300, 8501), (LOCAL, 70_000)]
)
def test_an_address_of_another_machine_is_an_error(address: str, port: int) -> None:
    with pytest.raises(UsageError, match="cannot be listened on"):
        free_port(address, port)


def test_options_keep_to_this_machine_and_say_nothing_outside() -> None:
    found = options(LOCAL, 8501, headless=True)
    assert found["server.address"] == LOCAL
    assert found["server.allowedHosts"] == [LOCAL, "localhost"]
    assert found["browser.gatherUsageStats"] is False
    assert found["server.fileWatcherType"] == "none"
    assert found["server.enableXsrfProtection"] is True
    assert found["server.enableCORS"] is True
    assert found["server.showEmailPrompt"] is False


def test_every_option_is_one_of_streamlit() -> None:
    from streamlit import config

    known = set(config.get_config_options())
    assert set(options(LOCAL, 1, headless=True)) <= known


def test_addresses_are_shown_as_browsers_take_them() -> None:
    assert url("0.0.0.0", 1) == "http://localhost:1"  # noqa: S104  (shown, not bound)
    assert url("::1", 1) == "http://[::1]:1"


def test_runs_are_found_directly_below_a_folder(tmp_path: Path) -> None:
    assert [path.name for path in runs_in([RUNS])] == ["attack", "compare", "selftest", "train"]
    assert runs_in([RUNS / "train", RUNS / "train"]) == [(RUNS / "train").resolve()]
    with pytest.raises(UsageError, match="no run in this folder"):
        runs_in([tmp_path])
    with pytest.raises(UsageError, match="no such folder"):
        runs_in([tmp_path / "absent"])


def test_runs_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_DASHBOARD_RUNS", '["/a/run", "/b/run", "/b/run/../run"]')
    assert list(given_runs()) == ["run", "b/run", "../run"]


def test_it_serves_here_only_writes_nothing_and_ends_on_interrupt(tmp_path: Path) -> None:
    port = free_port(LOCAL, 18_501)
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(RUNS.parents[2])}
    (tmp_path / "work" / ".streamlit").mkdir(parents=True)
    hostile = tmp_path / "work" / ".streamlit" / "config.toml"
    hostile.write_text('[server]\nbaseUrlPath = "elsewhere"\n')
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(RUNS / "compare"), str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path / "work",
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://{LOCAL}:{port} False\n"
        assert b"<title>" in _answer(f"http://{LOCAL}:{port}/")
        assert _answer(f"http://{LOCAL}:{port}/_stcore/health") == b"ok"
        found = psutil.Process(process.pid).net_connections("inet")
        assert {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN} == {LOCAL}
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    assert process.returncode in (0, 130)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [hostile]


def _answer(address: str) -> bytes:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310  (our own server)
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > deadline:
                raise


def test_streamlit_is_started_once_with_the_runs_and_away_from_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from streamlit.web import bootstrap

    asked: dict[str, object] = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(RUNS_VARIABLE, "[]")
    monkeypatch.setattr(bootstrap, "load_config_options", lambda options: asked.update(options))
    monkeypatch.setattr(
        bootstrap, "run", lambda script, _hello, arguments, _options: asked.update(run=(script, arguments))
    )
    said: list[str] = []
    serve([RUNS], headless=True, announce=said.append)
    assert list(given_runs()) == ["attack", "compare", "selftest", "train"]
    assert asked["run"] == (str(SCRIPT), [])
    assert said == [f"http://{LOCAL}:{asked['server.port']}"]
    assert Path.cwd() == SCRIPT.parent
