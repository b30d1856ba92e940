"""What `audit gate` can be asked for; the command is made from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from audit.errors import UsageError

SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class GateConfig:
    """Settings of `audit gate`: which run is held against which policy, and where the outcome is written.

    Raises:
        UsageError: a value makes no sense.
    """

    run: str
    """Run folder; it is read, never written."""
    policy: str
    """Policy file (TOML); see docs/gate.md and examples/policies."""
    junit: str | None = None
    """File to write the outcome to as JUnit XML."""
    sarif: str | None = None
    """File to write the outcome to as SARIF 2.1.0."""
    weights: str | None = None
    """SHA-256 that the audited model must have: its identity, or that of one of its files."""
    manifest: str | None = None
    """SHA-256 that manifest.json must have, as noted down when the run was made."""

    def __post_init__(self) -> None:
        for name in ("weights", "manifest"):
            value = getattr(self, name)
            if value is not None and not SHA256.fullmatch(value):
                raise UsageError(
                    f"--{name} is no SHA-256.", where=value[:80], fix="give its 64 hex digits, in lower case"
                )
        if self.junit is not None and self.junit == self.sarif:
            raise UsageError("--junit and --sarif name one file.", where=self.junit, fix="name two files")
