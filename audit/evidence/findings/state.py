"""What the lines of the log say together: every finding as it stands."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from audit.evidence.findings.entry import SEVERITIES, Finding, Severity, Status


@dataclass(frozen=True)
class FindingState:
    """One finding as it stands, with everything that was said about it."""

    entries: tuple[Finding, ...]

    @property
    def finding(self) -> str:
        """Its id."""
        return self.entries[0].finding

    @property
    def severity(self) -> Severity:
        """The latest."""
        return self.entries[-1].severity

    @property
    def title(self) -> str:
        """The latest."""
        return self.entries[-1].title

    @property
    def evidence(self) -> tuple[str, ...]:
        """All addresses that any entry names, each once, in order."""
        return tuple(dict.fromkeys(address for entry in self.entries for address in entry.evidence))

    @property
    def status(self) -> Status:
        """Withdrawn once withdrawn; signed off until somebody raises the severity again."""
        if any(entry.action == "withdrawn" for entry in self.entries):
            return "withdrawn"
        return "signed off" if self.signatures else "open"

    @property
    def signatures(self) -> tuple[Finding, ...]:
        """The sign-offs that hold: none given before the severity was last raised."""
        raised = [
            place
            for place, (before, after) in enumerate(pairwise(self.entries), start=1)
            if SEVERITIES.index(after.severity) > SEVERITIES.index(before.severity)
        ]
        since = self.entries[raised[-1] if raised else 0 :]
        return tuple(entry for entry in since if entry.action == "signed off")


@dataclass(frozen=True)
class Findings:
    """A log as it was read."""

    entries: tuple[Finding, ...]
    head: str
    """SHA-256 of the last line: who wrote it down elsewhere sees whether lines were cut off."""

    @property
    def current(self) -> dict[str, FindingState]:
        """Every finding by its id, withdrawn ones included, in the order of opening."""
        about: dict[str, list[Finding]] = {}
        for entry in self.entries:
            about.setdefault(entry.finding, []).append(entry)
        return {name: FindingState(tuple(entries)) for name, entries in about.items()}

    @property
    def open(self) -> list[FindingState]:
        """Neither signed off nor withdrawn."""
        return [state for state in self.current.values() if state.status == "open"]

    @property
    def signed_off(self) -> list[FindingState]:
        """Signed off by somebody."""
        return [state for state in self.current.values() if state.status == "signed off"]

    @property
    def withdrawn(self) -> list[FindingState]:
        """Withdrawn; they stay visible."""
        return [state for state in self.current.values() if state.status == "withdrawn"]
