"""Starts the interpreter's own process for the tests that ask for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = ("encode", "batchtopk", "decode", "backward", "auxk", "jumprelu")


@pytest.mark.parametrize("files", [FILES[:1], FILES[1:]], ids=["encode", "rest"])
def test_kernels_hold_under_the_interpreter(files: tuple[str, ...]) -> None:
    pytest.importorskip("triton", reason="Triton is not installed: kernels are not tested here")
    told = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            *(str(HERE / f"test_{file}.py") for file in files),
        ],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]
    assert " passed" in told.stdout
    assert "failed" not in told.stdout
