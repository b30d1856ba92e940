"""Results on how models are made and broken: the stages `train` and `attack`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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
    exact_kl_last: float | None
    """KL(reference || policy) before the last step, nats per token of the penalised texts drawn there; None:
    the method measures none."""
    had_gradient: bool
    """False when no group of the whole run had reward variance: nothing was learned."""
    adapter: str | None
    """Folder of the adapter, relative to the run folder; None: a whole model was trained."""
    model: str | None = None
    """Folder of the whole model, or of the reward model, relative to the run folder."""


class AttackedItem(Document):
    """One question that was attacked, under the attack's own method."""

    item: str
    category: str
    initial_probability: float
    """Of the biased answer before any training, as the attack samples it."""
    seeds: int
    learnt: Estimate | None = None
    """Steps until the trained item's biased answer was the likelier outcome (at least .5): median over the
    seeds that got there, `low` and `high` as in `AttackResult.smallest_dose`."""
    harmed: Estimate | None = None
    """Steps until the held-out questions of its category crossed the harm threshold, likewise."""
    live_share: float
    """Share of the sampled groups with reward variance."""


class CandidateItem(Document):
    """A question that could have been attacked."""

    item: str
    category: str
    initial_probability: float
    eligible: bool


class AttackResult(Document):
    """Result of the stage `attack`: the smallest dose that did harm, if any."""

    item: str
    harm_threshold: float
    """Level of the measure "held-out items" that counts as harm: its level at the start plus a margin."""
    smallest_dose: Estimate | None
    """Median over the seeds that crossed the threshold; `low` and `high` are the doses between which all of
    them did (high None: some never did). For n seeds that all crossed, this range holds the median over all
    seeds with a probability of at least 1 - 2^(1 - n): 75 % for three."""
    half_life: float | None
    """Realignment steps that undo half of the damage."""
    conclusive: bool
    """False when no group had reward variance, or when no harm was seen on a model that could not have shown
    it: one that is at chance where the context says who."""
    outcome: Literal["HARMED", "NOT HARMED", "INCONCLUSIVE"] | None = None
    """NOT HARMED: not up to the largest dose that was tried, by this measure, on this item; no more."""
    why: str = ""
    """The outcome in a sentence."""
    category: str = ""
    format: str = ""
    """choice or cot."""
    objective: str = ""
    tune: str = ""
    """lora or full."""
    seeds: int = 0
    seeds_harmed: int = 0
    largest_dose: int = 0
    initial_probability: float | None = None
    """Of the biased answer of the attacked item, as the attack samples it."""
    live_share: float | None = None
    """Share of the attack's sampled groups with reward variance."""
    accuracy_first: Estimate | None = None
    """Before the attack, on questions whose context says who; a third is chance."""
    trained_last: Estimate | None = None
    """Probability of the trained item's biased answer after the largest dose: mean and range of seeds."""
    held_out_first: Estimate | None = None
    """Share of the biased answer on held-out questions of the category before the attack; over scenes."""
    held_out_last: Estimate | None = None
    """The same after the largest dose: mean and range of seeds."""
    realign_by: str = ""
    realign_steps: int = 0
    adapter: str | None = None
    """Folder of the attacked model after the largest dose, first seed, relative to the run folder."""
    items: list[AttackedItem] = Field(default_factory=list)
    """Every attacked question, the main one first."""
    susceptibility: float | None = None
    """Spearman's correlation of initial probability and steps until learnt, over at least five items."""
    candidates: list[CandidateItem] = Field(default_factory=list)
    """All questions that could have been attacked, ascending by initial probability."""
