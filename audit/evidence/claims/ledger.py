"""The ledger: collects the printable sentences of a run, each with its number and where the evidence lies."""

from __future__ import annotations

from typing import Any

from audit.evidence.files import sha256_file
from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Claim, Estimate, Evidence


class Ledger:
    """Collects the claims of one run; every claim points at a value in a stage's result."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.claims: list[Claim] = []
        self._hashes: dict[str, str] = {}

    def add(self, name: str, stage: str, pointer: str, statement: str, value: Any, **fields: Any) -> None:
        """Adds one claim; an `Estimate` brings its interval and n along."""
        if isinstance(value, Estimate):
            fields = {"low": value.low, "high": value.high, "n": value.n, **fields}
            value = value.value
        evidence = Evidence(file=f"stages/{stage}/result.json", sha256=self._sha256(stage), pointer=pointer)
        self.claims.append(Claim(id=name, statement=statement, value=value, evidence=evidence, **fields))

    def _sha256(self, stage: str) -> str:
        if stage not in self._hashes:
            self._hashes[stage] = sha256_file(self.run.stage_path(stage) / "result.json")
        return self._hashes[stage]
