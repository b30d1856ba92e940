"""Settings of `audit selftest`; the CLI is made from this class."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

from audit.errors import UsageError

_NOT_RESULTS = ("out", "workers", "organisms", "keep_runs")
"""Fields that the numbers do not depend on."""


@dataclass(frozen=True)
class SelftestConfig:
    """Settings of `audit selftest`.

    Raises:
        UsageError: a value makes no sense.
    """

    full: bool = False
    """Fit thresholds on some bases and measure the record on others (hours); without it one base and the main
    kinds are audited with this version's thresholds (minutes)."""
    fit_bases: int | None = None
    """Bases that thresholds are fitted on; default 0, with --full 4."""
    test_bases: int | None = None
    """Other bases that the record is measured on; default 1, with --full 60."""
    kind: tuple[str, ...] = ()
    """Kind of organism to audit on every test base; may be repeated. Default: the main kinds, with --full two
    kinds in turn."""
    seed: int = 0
    """Moves all worlds: another seed gives other bases."""
    workers: int = 0
    """Processes that share the organisms, one core each; 0: one per core."""
    evidence: str | None = None
    """The evidence.json of an earlier selftest: its organisms are judged by this version's rule, with
    thresholds fitted anew, and none is made or audited again."""
    organisms: str | None = None
    """Folder where organisms lie; default: the cache."""
    keep_runs: bool = False
    """Keep the run folder of every organism's audit."""
    out: str | None = None
    """Run folder; default runs/selftest-NAME, with a NAME made from the settings. The same command goes on
    where a killed one was."""

    def __post_init__(self) -> None:
        for name, least in (("fit_bases", 0), ("test_bases", 1), ("seed", 0), ("workers", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(
                    f"{name} must be at least {least}, not {value}.",
                    where=f"--{name.replace('_', '-')}",
                    fix="change the setting",
                )
        given = [name for name in ("full", "kind", "fit_bases", "test_bases") if getattr(self, name)]
        if self.evidence and given:
            raise UsageError(
                "The organisms are those of the file: nothing else can be chosen.",
                where=f"--evidence with {', '.join('--' + name.replace('_', '-') for name in given)}",
                fix="leave one of the two out",
            )

    @property
    def fitted_on(self) -> int:
        """How many bases thresholds are fitted on."""
        return self.fit_bases if self.fit_bases is not None else (4 if self.full else 0)

    @property
    def tested_on(self) -> int:
        """How many bases the record is measured on."""
        return self.test_bases if self.test_bases is not None else (60 if self.full else 1)

    @property
    def processes(self) -> int:
        """How many organisms are audited at once."""
        return self.workers or os.cpu_count() or 1

    @property
    def command(self) -> str:
        """What asks for the same again."""
        words = ["audit selftest", *(["--full"] if self.full else []), f"--seed {self.seed}"]
        words += [f"--fit-bases {self.fitted_on}", f"--test-bases {self.tested_on}"]
        return " ".join([*words, *(f"--kind {kind}" for kind in self.kind)])

    def resolved(self) -> dict[str, Any]:
        """Everything that the record depends on."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_RESULTS}
        values |= {"fit_bases": self.fitted_on, "test_bases": self.tested_on, "kind": list(self.kind)}
        return values | {"evidence": self.evidence or ""}
