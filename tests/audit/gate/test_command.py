"""`audit gate` from the shell: its exit codes, and what it prints where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
RUN = "tests/data/runs/compare"
PIPELINE = "examples/policies/pipeline.toml"


def audit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "audit", "gate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((RUN, "--policy", PIPELINE), 0),
        ((RUN, "--policy", "examples/policies/release.toml"), 2),
        ((RUN, "--policy", "examples/policies/none.toml"), 1),
        (("tests/data/runs", "--policy", PIPELINE), 1),
        ((RUN, "--policy", PIPELINE, "--weights", "abc"), 1),
        ((RUN, "--policy", PIPELINE, "--nonsense"), 1),
        ((RUN,), 1),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int) -> None:
    done = audit(*arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)


def test_what_cannot_be_decided_exits_with_three(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text((ROOT / PIPELINE).read_text().replace('"drift", "verdict"', '"drift", "attack"'))
    done = audit(RUN, "--policy", str(policy))
    assert (done.returncode, "INCONCLUSIVE" in done.stdout) == (3, True)


def test_json_alone_is_on_stdout_and_the_files_are_written(tmp_path: Path) -> None:
    junit, sarif = tmp_path / "gate.xml", tmp_path / "gate.sarif"
    done = audit(RUN, "--policy", PIPELINE, "--json", "--junit", str(junit), "--sarif", str(sarif))
    assert json.loads(done.stdout)["status"] == "pass"
    assert junit.is_file()
    assert json.loads(sarif.read_text())["version"] == "2.1.0"
    broken = audit(RUN, "--policy", "none.toml", "--json")
    assert "no such policy" in json.loads(broken.stdout)["error"]["problem"]
