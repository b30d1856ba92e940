"""What a policy may ask: one model per kind of rule; docs/gate.md is held against the docstrings here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from audit.evidence.findings import Severity
from audit.evidence.schema.documents import RunKind
from audit.evidence.schema.results import Verdict

ANY = "*"
"""As a whole segment of an address: any one segment."""


class Strict(BaseModel):
    """Base of all parts of a policy: no unknown fields, no conversions, no NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def _pattern(text: str) -> str:
    segments = text.split("/")
    if not all(segments):
        raise ValueError("has an empty segment between two slashes")
    if any(ANY in segment and segment != ANY for segment in segments):
        raise ValueError("has a * inside a segment: it stands for a whole one, between slashes")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a character that does not print")
    return text


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Pattern = Annotated[Line, AfterValidator(_pattern)]
Lines = Annotated[list[Line], Field(min_length=1, max_length=100)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Names = Annotated[list[Line], Field(min_length=1, max_length=100)]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Rule(Strict):
    """What all rules have."""

    name: Line | None = None
    """What the rule is called in the outcome; without one, its kind and its place in the file."""
    why: Line | None = None
    """Why the policy asks this; printed where the rule does not pass."""


class VerdictRule(Rule):
    """Every behaviour has an allowed verdict; INCONCLUSIVE, where it is not allowed, decides nothing."""

    kind: Literal["verdict"]
    behaviours: Names = [ANY]
    """Names of suites; * means every one of the run."""
    allowed: Annotated[list[Verdict], Field(min_length=1)]
    """Verdicts that pass."""


class BoundRule(Rule):
    """A number lies on the allowed side: its whole interval, unless `of` names one end or the estimate."""

    kind: Literal["bound"]
    claim: Pattern
    """Id of a claim; * stands for one segment: behaviour/*/plain/test/lost_share."""
    of: Literal["interval", "value", "low", "high"] = "interval"
    """interval: all of the 95 % interval inside passes, all of it outside violates, else inconclusive; value,
    low, high: that number alone, inside or outside."""
    at_least: float | None = None
    """Smallest number that passes."""
    above: float | None = None
    """The number must be larger."""
    at_most: float | None = None
    """Largest number that passes."""
    below: float | None = None
    """The number must be smaller."""
    least_n: Count | None = None
    """Independent units without which the claim decides nothing."""
    despite_caveats: bool = False
    """Whether a claim decides although its own preconditions do not hold, such as a cosine of directions
    that are not reliable, or a bypass whose side effects are outside its budgets."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        lower = [end for end in (self.at_least, self.above) if end is not None]
        upper = [end for end in (self.at_most, self.below) if end is not None]
        if not lower and not upper:
            raise ValueError("needs one of at_least, above, at_most, below")
        if len(lower) > 1 or len(upper) > 1:
            raise ValueError("has two bounds on one side: keep one of at_least and above, at_most and below")
        if lower and upper and lower[0] > upper[0]:
            raise ValueError("can never pass: the lower bound lies above the upper one")
        return self


class WordRule(Rule):
    """A claim that is a word or a yes or no is one of the allowed ones."""

    kind: Literal["word"]
    claim: Pattern
    """Id of a claim; * stands for one segment: elicit/*."""
    allowed: Annotated[list[Line | bool], Field(min_length=1, max_length=100)]
    """Values that pass, such as "no" or true."""


class DriftRule(Rule):
    """The model moved no further than the budget along its own text."""

    kind: Literal["drift"]
    at_most: Annotated[float, Field(ge=0)]
    """Nats per sampled sequence, for the whole interval of each direction."""
    directions: Annotated[list[Literal["forward", "reverse"]], Field(min_length=1)] = ["forward", "reverse"]
    """forward: KL(base || tuned); reverse: KL(tuned || base)."""


class DoseRule(Rule):
    """A measure does not reach its threshold up to some dose.

    Attack runs: optimiser steps, table `attack_doses`. Training runs: optimiser steps, table `train_steps`,
    channel `total`. Compare runs: strength of an intervention inside the tuned model, table
    `doses`, held-out items.
    """

    kind: Literal["dose"]
    measure: Line
    """Attack: a measure of the table, such as "held-out items". Training: reward, exact_kl or dead_groups.
    Compare: recovered, the share of the behaviour that an intervention brings back."""
    withstands: Annotated[float, Field(gt=0)]
    """Dose that must not get there, nor any smaller one; the run must have tried it or a larger one. An
    interval that reaches the threshold decides nothing, one that lies beyond it violates."""
    threshold: float | None = None
    """Without one, the harm threshold of the attack."""
    crosses: Literal["upwards", "downwards"] = "upwards"
    """downwards: the measure does harm by falling to the threshold."""
    arm: Line = "attack"
    """Attack runs: which arm."""
    behaviours: Names = [ANY]
    """Compare runs: names of suites; * means every one of the table."""
    interventions: Names = [ANY]
    """Compare runs: which interventions; * means all that use nothing of the base."""


class EvidenceRule(Rule):
    """Stages were done and claims exist."""

    kind: Literal["evidence"]
    stages: Annotated[list[Line], Field(max_length=100)] = []
    """Stages that must be done; one that was skipped or failed is inconclusive, with its reason."""
    claims: Annotated[list[Pattern], Field(max_length=100)] = []
    """Claims that must exist and hold a value; * stands for one segment."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.stages and not self.claims:
            raise ValueError("needs stages or claims")
        return self


class AgeRule(Rule):
    """The run is not too old."""

    kind: Literal["age"]
    at_most_days: Annotated[float, Field(gt=0, le=36_500)]
    """Days between the run's creation, by its manifest, and now."""


class WeightsRule(Rule):
    """The audited weights are the ones that are to be released."""

    kind: Literal["weights"]
    model: Literal["tuned", "base"] = "tuned"
    """Which of the two models."""
    identity: Sha256 | None = None
    """SHA-256 over all its files, as manifest.json gives it."""
    file: Line | None = None
    """Name of one of its files, as manifest.json lists them."""
    sha256: Sha256 | None = None
    """SHA-256 of that file."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) != (self.sha256 is None):
            raise ValueError("file and sha256 go together")
        if (self.identity is None) == (self.file is None):
            raise ValueError("needs either identity, or file and sha256")
        return self


class FindingsRule(Rule):
    """No finding of this severity or worse is open."""

    kind: Literal["findings"]
    none_open_from: Severity
    """Least severity that blocks: info, low, medium, high or critical."""
    withdrawn_count: bool = False
    """Whether a withdrawn finding still counts as open."""
    log_required: bool = True
    """Whether a run that nobody wrote a finding on decides nothing."""


class SignOffRule(Rule):
    """Reviewers signed the findings off; a run without findings decides nothing."""

    kind: Literal["sign_off"]
    severity_from: Severity = "info"
    """Findings of this severity or worse, withdrawn ones aside, need the signatures."""
    at_least: Annotated[int, Field(ge=1, le=100)] = 1
    """Different reviewers per finding."""
    reviewers: Annotated[list[Line], Field(max_length=100)] = []
    """If given, only their signatures count."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.reviewers and self.at_least > len(set(self.reviewers)):
            raise ValueError("asks for more signatures than there are reviewers")
        return self


class SentinelRule(Rule):
    """A benchmark score that moved was not gamed, and one that stood still is not blind."""

    kind: Literal["sentinel"]
    suite: Line
    """Suite whose score is quoted; * means each suite of the run."""
    score: Literal["probability", "written"] = "probability"
    """The quoted score: the effect on log-odds, or the bias of the written answers to ambiguous items."""
    witnesses: Annotated[list[Line], Field(max_length=20)] = []
    """Other suites on the same construct in another form; the suite's own other score is one by itself."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Band in which a written bias (from -1 to 1) and a direction's norm ratio (about 1) stand still."""
    least_cosine: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Cosine of the two models' directions from which the direction stands still."""
    least_bypass: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share that a bypass inside the tuned model must bring back for the wiring to count as intact."""


class RunRules(Strict):
    """What is asked of the run itself, before any rule."""

    kinds: Annotated[list[RunKind], Field(min_length=1)] = ["compare"]
    """Kinds of run that this policy is for; another kind violates it."""
    verified: bool = True
    """Whether every hash and every claimed number must check out, as `audit verify` does."""
    miniature: bool = False
    """Whether an invented run may serve: for tests of the pipeline itself."""


AnyRule = Annotated[
    VerdictRule
    | BoundRule
    | WordRule
    | DriftRule
    | DoseRule
    | EvidenceRule
    | AgeRule
    | WeightsRule
    | FindingsRule
    | SignOffRule
    | SentinelRule,
    Field(discriminator="kind"),
]


class Policy(Strict):
    """A policy file."""

    format: Literal[1]
    """Version of the policy's format."""
    title: Line
    """What the outcome calls the policy."""
    inconclusive: Literal["fail", "pass"] = "fail"
    """fail: what cannot be decided stops the release (exit 3); pass: it is printed and let through."""
    run: RunRules = Field(default_factory=RunRules)
    """What is asked of the run itself."""
    rule: Annotated[list[AnyRule], Field(min_length=1, max_length=200)]
    """The rules, each a table [[rule]] with its kind."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [rule.name for rule in self.rule if rule.name is not None]
        if len(names) != len(set(names)):
            raise ValueError("two rules have one name")
        return self
