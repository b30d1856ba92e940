"""Asks `audit.probe` in a process of its own: the dashboard never imports torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, TypedDict

from audit.errors import AuditError

COMMAND = (sys.executable, "-P", "-m", "audit.probe")
"""-P: nothing is imported from the working directory."""
LIMIT_S = 600
"""Seconds after which a probe is ended."""
LARGEST = 64 * 2**20
ONE_AT_A_TIME = threading.Lock()
"""Two models are in memory meanwhile."""


class ProbedLatent(TypedDict):
    """One latent on every token."""

    latent: int
    base: list[float]
    tuned: list[float]


class Probed(TypedDict):
    """What a probe found; see `audit.probe.Probed`."""

    hook: str
    latents: int
    joint: bool
    tokens: list[str]
    left_out: int
    found: list[ProbedLatent]
    base: str
    tuned: str


def ask(request: dict[str, Any], limit_s: float = LIMIT_S) -> Probed:
    """The answer to one request.

    Args:
        request: fields of `audit.probe.ProbeConfig`.
        limit_s: seconds that it may take.

    Raises:
        AuditError: the probe says what is missing, took too long, ran out of memory, or another one runs.
    """
    if not ONE_AT_A_TIME.acquire(blocking=False):
        raise AuditError("Another probe is running.", fix="wait until it ends, then ask again")
    try:
        done = _run(json.dumps(request), limit_s)
    finally:
        ONE_AT_A_TIME.release()
    try:
        answer = json.loads(done.stdout[:LARGEST])
    except ValueError:
        raise AuditError(
            "The probe ended without an answer.",
            where=done.stderr.strip()[-300:] or f"exit code {done.returncode}",
            fix="free some memory and try again; `audit probe RUN --text ... --debug` shows more",
        ) from None
    if "error" in answer:
        said = answer["error"]
        raise AuditError(said["problem"], where=said["where"], fix=said["fix"])
    result: Probed = answer["result"]
    return result


def _run(text: str, limit_s: float) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    try:
        return subprocess.run(  # noqa: S603  (this interpreter and our own module; the text goes to stdin)
            COMMAND, input=text, capture_output=True, text=True, timeout=limit_s, env=environment,
            cwd=_started_in(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise AuditError(
            f"The probe took longer than {limit_s:g} seconds and was ended.",
            fix="try a shorter text, or `audit probe RUN --text ...`, which has no limit",
        ) from None


def _started_in() -> str | None:
    """Where the dashboard was started: the server works elsewhere, and a manifest's paths may be relative."""
    folder = os.environ.get("PWD", "")
    return folder if Path(folder).is_absolute() and Path(folder).is_dir() else None
