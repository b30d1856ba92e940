"""Results on what brings a behaviour back: the stage `bypass`."""

from __future__ import annotations

from pydantic import Field

from audit.evidence.schema.documents import Document, Estimate


class BypassTrial(Document):
    """One intervention in the tuned model, chosen on the fit half, read on the held-out half."""

    intervention: str
    set: str
    description: str
    size: int
    dose: float
    recovered_fit: float
    """R on the items that chose it."""
    recovered: Estimate | None
    """R on the held-out items; None: it broke the model there."""
    controls: str
    """matched: units alike in kind, norm and activity; scaled: other units, each changed so many times over
    that its write is as large; random change: the set's own weight changes with random signs; random
    directions: at right angles to the concept's; shuffled gates: the same gates on any units of the same
    modules; or none. Latents count as units."""
    random_sets: int
    random_mean: float | None
    """Mean R of the controls at the same dose."""
    random_max: float | None
    match_norm: float | None
    match_activity: float | None
    off_target_kl: Estimate | None
    """KL(tuned || bypassed) on unrelated text, nats per token."""
    skills: float | None
    other_suites: float | None
    """Largest mean absolute shift of m on another suite, in its equivalence bands."""
    inside_budget: bool
    """KL and skills are inside the budgets of the result."""
    reads_base: bool
    imports_base: bool
    above_random: bool
    """The interval of R begins above 0 and above the largest R of at least `least_random` controls."""
    may_support: bool
    """Whether a verdict may use it as an internal bypass."""
    why_not: list[str]
    note: str | None


class BehaviourBypass(Document):
    """What brings one behaviour back."""

    name: str
    template: str
    entities: int
    """Held-out entities behind each R."""
    internal: BypassTrial | None
    """Nearest to the base of what changes the tuned model with nothing but itself, and unembedding rows."""
    latents: BypassTrial | None = None
    """Nearest among sets of latents taken out of the tuned model, by codes of its own."""
    gates: BypassTrial | None = None
    """Sparse gates on the tuned model's own neurons and heads, learned on the fit half."""
    gates_learned: int | None = None
    """How many units got a gate; 0: none that brings anything back; None: gates were not learned."""
    rewire: BypassTrial | None = None
    """The tuned model's own reading of the class, written towards the behaviour by one new wire of rank 1: it
    shows that the class can be read where the answer is given, and never that the own wiring is intact."""
    revert: BypassTrial | None
    """Nearest to the base among reverts that import weights of the base: it says where a change sits."""
    reading_base: BypassTrial | None
    """Nearest among what reads the base's activations; never evidence."""
    trials: int
    """Trials among which the fit half chose."""
    not_measured: list[str]

    @property
    def chosen(self) -> list[BypassTrial]:
        """Every trial that was read on the held-out half."""
        ways = (self.internal, self.latents, self.gates, self.rewire, self.revert, self.reading_base)
        return [trial for trial in ways if trial is not None]


class BypassResult(Document):
    """Result of the stage `bypass`."""

    behaviours: list[BehaviourBypass]
    in_base: list[BehaviourBypass] = Field(default_factory=list)
    """For behaviours that rose: what brings the tuned model's behaviour about inside the base, with gates and
    by a new wire; in R and in every name, base and tuned model have changed places."""
    kl_budget: float
    skills_budget: float
    least_random: int
    """Controls without which nothing counts as above random."""
    not_measured: list[str]
