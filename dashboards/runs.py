"""The run folders of the dashboard: found on the command line, handed to the application."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from audit.errors import UsageError
from audit.evidence.run import MANIFEST

RUNS_VARIABLE = "UNMASK_DASHBOARD_RUNS"
"""Environment variable with the run folders as a JSON list; set by `dashboards.launch`."""
LANDING_VARIABLE = "UNMASK_DASHBOARD_LANDING"
"""Environment variable with the page at the root address; only the export and tests choose another."""


def given_runs() -> dict[str, Path]:
    """The runs of the command line by name; a name that two folders share gets its parent's in front."""
    paths = [Path(text) for text in json.loads(os.environ.get(RUNS_VARIABLE, "[]"))]
    named: dict[str, Path] = {}
    for path in paths:
        name = path.name if path.name not in named else f"{path.parent.name}/{path.name}"
        named[name if name not in named else str(path)] = path
    return named


def runs_in(paths: Sequence[Path]) -> list[Path]:
    """The run folders among `paths`; a folder that is no run stands for the runs directly inside it.

    Raises:
        UsageError: a path is no folder, or neither a run nor a folder of runs.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            raise UsageError("There is no such folder.", where=str(path), fix="name a run folder")
        runs = [path] if (path / MANIFEST).is_file() else sorted(p.parent for p in path.glob(f"*/{MANIFEST}"))
        if not runs:
            raise UsageError(
                "There is no run in this folder, nor directly below it.",
                where=str(path),
                fix="name a folder that `audit compare` or `audit train` wrote, or a folder of such",
            )
        found |= dict.fromkeys(run.resolve() for run in runs)
    return list(found)
