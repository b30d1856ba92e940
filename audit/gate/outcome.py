"""What the gate concluded: one outcome per rule and thing it looked at, and the whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["pass", "violated", "inconclusive"]
EXIT_CODES: dict[Status, int] = {"pass": 0, "violated": 2, "inconclusive": 3}
"""1 is left to errors: of the command line, of the policy, of a folder that is no run."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a check saw of one thing."""

    subject: str
    """What was looked at: a claim, a behaviour, a stage, the run."""
    status: Status
    observed: float | str | bool | None = None
    """What the run says; None: nothing."""
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    """Upper end."""
    threshold: str
    """What would pass."""
    n: int | None = None
    """Independent units behind it."""
    claim: str | None = None
    """Id of the claim, where there is one."""
    evidence: str | None = None
    """SHA-256 of the file that holds the evidence."""
    reason: str = ""
    """Why it did not pass, or what to know where it did."""
    matched: bool = True
    """False where a pattern fits nothing in the run."""


@dataclass(frozen=True, kw_only=True)
class Outcome(Seen):
    """What one rule of a policy says of one thing."""

    rule: str
    """Name of the rule."""
    kind: str
    """Kind of the rule; `run` for what is asked of every run."""
    line: int
    """Line of the policy at which the rule begins, from 1."""


@dataclass(frozen=True)
class Whom:
    """One model of the run, as the outcome names it."""

    reference: str
    identity: str


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """The outcome of a policy on a run."""

    run: str
    kind: str
    created: str
    miniature: bool
    manifest_sha256: str
    base: Whom
    tuned: Whom | None
    policy: str
    """Path of the policy file."""
    title: str
    policy_sha256: str
    inconclusive: Literal["fail", "pass"]
    findings_head: str | None
    """SHA-256 of the findings log's last line; None where there is no log."""
    outcomes: tuple[Outcome, ...]

    def of(self, status: Status) -> tuple[Outcome, ...]:
        """The outcomes of one status."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == status)

    @property
    def status(self) -> Status:
        """Violated wins over inconclusive, which the policy may let through."""
        if self.of("violated"):
            return "violated"
        return "inconclusive" if self.of("inconclusive") and self.inconclusive == "fail" else "pass"

    @property
    def exit_code(self) -> int:
        """0 pass, 2 violated, 3 inconclusive."""
        return EXIT_CODES[self.status]

    def as_json(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        found = asdict(self)
        outcomes = found.pop("outcomes")
        counts = {status: len(self.of(status)) for status in EXIT_CODES}
        verdict = {"status": self.status, "exit_code": self.exit_code, "counts": counts}
        return {**verdict, **found, "outcomes": list(outcomes)}
