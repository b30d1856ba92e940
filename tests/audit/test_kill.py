"""kill -9 at ten random moments, then the same command: the claims are those of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import audit
from audit.evidence.run import open_run
from audit.evidence.verify import verify_run

Maker = Callable[..., Path]
KILLS = 10


@pytest.fixture
def command(tiny_model: Maker, tiny_suite: Maker, tiny_preset: Callable[..., None]) -> Callable[[Path], Any]:
    tiny_preset(drift_sequences=8, drift_tokens=8, draws=500)
    base, tuned = tiny_model(seed=0), tiny_model(seed=1)
    suites = tuple(str(tiny_suite(name, entities=10)) for name in ("first", "second"))

    def run(out: Path) -> Any:
        return audit.compare(str(base), str(tuned), suite=suites, preset="quick", out=str(out))

    return run


def killed(run: Callable[[Path], Any], out: Path, delay: float) -> float | None:
    """Runs in a child and kills it after `delay` seconds; the seconds it took where it ended before."""
    child = os.fork()
    if child == 0:
        try:
            run(out)
        finally:
            os._exit(0)
    began = time.monotonic()
    while time.monotonic() < began + delay:
        if os.waitpid(child, os.WNOHANG)[0]:
            return time.monotonic() - began
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_killed_run_ends_with_the_same_claims(command: Callable[[Path], Any], tmp_path: Path) -> None:
    command(tmp_path / "warm")
    began = time.monotonic()
    command(tmp_path / "straight")
    whole = time.monotonic() - began
    expected = (tmp_path / "straight" / "claims.json").read_bytes()
    rng, hits, stages = random.Random(0), 0, set()
    for i in range(KILLS):
        out = tmp_path / f"killed-{i}"
        ended = killed(command, out, whole * (i + rng.random()) / KILLS)
        hits += ended is None
        whole = min(whole, ended or whole)  # on a machine that was busier before, a run is shorter now
        stages.add(
            sum(
                (out / "stages" / s / "DONE").exists() for s in ("preflight", "weights", "behaviour", "drift")
            )
        )
        command(out)
        assert (out / "claims.json").read_bytes() == expected
        assert verify_run(open_run(out)).passed
    assert hits >= KILLS // 2, "most kills must hit a run that is still going"
    assert len(stages) >= 2, "the kills must fall into different stages"
