"""Results on asking the tuned model again: the stage `elicit`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audit.evidence.schema.documents import Document, Estimate


class ArmResult(Document):
    """One way of asking the tuned model again, on held-out items."""

    arm: str
    """prefill, system, few-shot, temperature or amplify."""
    variant: str
    dose: float
    scale: Literal["log-odds", "share"]
    """share: the expected share of samples that show the behaviour, of those that show or do not, exact."""
    is_control: bool
    """It asks for nothing: what it brings back, any prompt does."""
    black_box: bool
    """The tuned model alone is enough. amplify reads the base's logits too; there, with one token per side,
    the recovered share is the dose by construction."""
    b_base: float
    b_tuned: float
    b_arm: float
    b_arm_base: float | None
    """The base under the same arm."""
    recovered: Estimate | None
    """(b_arm - b_tuned) / (b_base - b_tuned); None where the gap on these items may be 0."""
    beyond_base: Estimate | None
    """The same after taking off what the arm does to the base."""


class SuiteElicitation(Document):
    """One suite: did asking differently return the behaviour?"""

    suite: str
    form: str
    """The form that carries the verdict; the arms are asked in it."""
    not_tried: str | None = None
    """Why no arm was tried, if so."""
    items: int = 0
    entities: int = 0
    arms: list[ArmResult] = Field(default_factory=list)
    best: ArmResult | None = None
    """The prompt that returns most, controls aside; the largest of several is optimistic."""
    brings_back: Literal["yes", "partly", "no", "unknown"] = "unknown"
    """yes: a prompt returns at least half (lower end), beyond what it does to the base and all controls;
    partly: the same with more than nothing; no: all upper ends are below half; unknown: anything else.
    Temperatures and amplification are reported and do not count."""
    skipped: list[str] = Field(default_factory=list)
    """Arms that could not be asked, and why."""


class ElicitResult(Document):
    """Result of the stage `elicit`."""

    suites: list[SuiteElicitation]
