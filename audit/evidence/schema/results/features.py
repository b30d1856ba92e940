"""Results on which latents changed: the stage `features`."""

from __future__ import annotations

from audit.evidence.schema.documents import Document


class BenignNull(Document):
    """A benign fine-tune of the base, as far from it as the tuned model."""

    seed: int
    steps: int
    """Optimiser steps of next-token training on half of the corpus."""
    scale: float
    """Factor on the low-rank change that made the KL match."""
    kl_target: float
    """KL(base || tuned) per token of held-out corpus text, nats."""
    kl_reached: float
    """KL(base || null) on the same text."""
    kl_tokens: int


class FoundLatent(Document):
    """A latent that training switched, beyond the nulls."""

    latent: int
    kind: str
    """base only, tuned only or rotated."""
    q_value: float
    score: float
    seed_recurrence: float | None
    """Share of the other seeds in which it reappears."""


class SilencedLatent(Document):
    """A latent that is as active as before and whose part in a changed behaviour is gone."""

    latent: int
    behaviour: str
    """The one on which it lost most."""
    effect_base: float
    effect_tuned: float
    low: float
    """Of the difference of the two, 95 %."""
    high: float
    q_value: float


class HookFeatures(Document):
    """The dictionary of one hook point, and what its latents are."""

    hook: str
    dictionary: str
    """What it is: crosscoder, difference, ..., or where it was loaded from."""
    latents: int
    seeds: int
    fve_base: float | None
    """Fraction of variance explained on tokens kept from training; None where there is nothing to explain."""
    fve_tuned: float | None
    held_out: bool
    """Whether FVE, L0 and dead share are of tokens that were kept from training."""
    l0: float
    dead_share: float
    recovered_kl: list[float | None]
    """Share of KL(model || model with this stream's mean alone) that reconstruction recovers, per model."""
    recovered_ce: list[float | None]
    """The same of the next-token loss."""
    live: int
    """Latents that fire often enough to be judged."""
    kinds: dict[str, int]
    candidates: dict[str, int]
    """Kinds by the thresholds alone, before the nulls."""
    findings: list[FoundLatent]
    """Latents called base only, tuned only or rotated, the smallest q-values first."""
    silenced: list[SilencedLatent]
    """Latents called silenced, the largest losses first."""
    rotation_bar: float
    """Cosine of base and tuned rows below which a latent may be called rotated."""
    recurring: float | None
    """Mean over live latents of the share of other seeds in which they reappear."""
    null_latents: int
    """Live latents of the benign nulls that the scores are ranked among."""
    least_findings: int | None
    """How many latents have to stand out together before any q can reach .05 with a null of this size."""
    described: int
    """Latents with examples and logits: candidates, the strongest, and a random sample."""


class FeaturesResult(Document):
    """Result of the stage `features`."""

    hooks: list[HookFeatures]
    nulls: list[BenignNull]
    tokens: int
    """Tokens read by both models and kept."""
    documents: int
    masked: dict[str, int]
    """Tokens left out, by reason."""
    role_shares: dict[str, float]
    """Share of the kept tokens by who speaks."""
    effects_on: list[str]
    """Behaviours on whose fit half the latents' effects were measured: those that changed."""
    not_measured: list[str]
    """Sentences: what this stage was asked for and could not measure."""
