"""The release gate's result on the first page, where a policy was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from reports.content.parts import code, columns
from reports.ledger import Evidence
from reports.model import Block, Line, Notice, Table, Tone, gap, line
from reports.numbers import interval, number

if TYPE_CHECKING:
    from audit.gate.outcome import GateResult

Word = Literal["PASS", "BLOCK", "INCONCLUSIVE"]
WORDS: dict[str, Word] = {"pass": "PASS", "violated": "BLOCK", "inconclusive": "INCONCLUSIVE"}
TONES: dict[Word, Tone] = {"PASS": "pass", "BLOCK": "block", "INCONCLUSIVE": "inconclusive"}
HEAD = columns(
    ("rule", 1.1), ("looked at", 1.3), ("status", 0.9), ("required", 1.2), ("observed", 1.4), ("n>", 0.5),
    ("why", 1.6),
)  # fmt: skip


@dataclass(frozen=True)
class GateRow:
    """What one rule of the policy says of one thing."""

    rule: str
    subject: str
    status: str
    required: str
    observed: str
    claim: str | None
    """Id of the claim that was read; its value is then printed from the ledger."""
    n: int | None
    why: str


@dataclass(frozen=True)
class Gate:
    """What `audit gate` said."""

    word: Word
    title: str
    policy: str
    """Name of the policy file."""
    sha256: str
    manifest: str
    """SHA-256 of the manifest that was judged."""
    rows: tuple[GateRow, ...]


def gate_of(result: GateResult) -> Gate:
    """The gate's result as a report keeps it."""
    return Gate(
        WORDS[result.status], result.title, result.policy.replace("\\", "/").rsplit("/", 1)[-1],
        result.policy_sha256, result.manifest_sha256, tuple(_row(outcome) for outcome in result.outcomes),
    )  # fmt: skip


def _row(outcome: Any) -> GateRow:
    observed = outcome.observed if isinstance(outcome.observed, str) else number(outcome.observed)
    if outcome.low is not None or outcome.high is not None:
        observed += f" {interval(outcome.low, outcome.high)}"
    return GateRow(
        outcome.rule, outcome.subject, outcome.status, outcome.threshold, observed, outcome.claim, outcome.n,
        outcome.reason,
    )  # fmt: skip


def gate_blocks(evidence: Evidence, gate: Gate | None) -> list[Block]:
    """The word, the policy's name and hash, and every rule with what was observed."""
    if gate is None:
        return []
    if gate.manifest != evidence.manifest_sha256:
        return [Notice("gap", "The gate judged another state of this run", (line("Run the gate again."),))]
    policy = line(f"{gate.title}. Policy " if gate.title else "Policy ", code(gate.policy), ", SHA-256 ")
    rows = tuple(_cells(evidence, row) for row in gate.rows)
    notice = Notice(TONES[gate.word], f"Release gate: {gate.word}", ((*policy, code(gate.sha256)),))
    return [notice, Table("Rules of the policy", HEAD, rows)]


def _cells(evidence: Evidence, row: GateRow) -> tuple[Line, ...]:
    claimed = row.claim is not None and evidence.has(row.claim)
    observed = evidence.slot(row.claim) if claimed and row.claim else row.observed
    if row.observed == "not measured":
        observed = gap("no evidence")
    n = "" if row.n is None else number(row.n)
    return tuple(
        line(one) for one in (code(row.rule), row.subject, row.status, row.required, observed, n, row.why)
    )
