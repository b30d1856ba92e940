"""Results on how models are made and broken: the stages `train`, `attack` and `selftest`."""

from __future__ import annotations

from audit.evidence.schema.documents import Document, Estimate


class TrainResult(Document):
    """Result of the stage `train`: how a tuned model was made."""

    method: str
    suite: str | None
    steps: int
    reward_first: float
    reward_last: float
    dead_groups: float
    """Share of sampled groups without reward variance over the whole run."""
    exact_kl_last: float
    """KL(reference || policy) before the last step, nats per token of the penalised texts drawn there."""
    had_gradient: bool
    """False when no group of the whole run had reward variance: nothing was learned."""
    adapter: str | None
    """Folder of the adapter, relative to the run folder."""


class AttackResult(Document):
    """Result of the stage `attack`: the smallest dose that did harm, if any."""

    item: str
    harm_threshold: float
    smallest_dose: Estimate | None
    half_life: float | None
    """Realignment steps that undo half of the damage."""
    conclusive: bool
    """False when no group had reward variance."""


class SelftestResult(Document):
    """Result of the stage `selftest`: the tool's own error rates on planted truth."""

    n: int
    accuracy_decided: Estimate
    inconclusive: float
    false_masked: float
    false_erased: float
    matrix: dict[str, dict[str, int]]
