"""Results on the two checkpoints: preflight, weights, drift."""

from __future__ import annotations

from typing import Any, Literal

from audit.evidence.schema.documents import Document, Estimate


class PreflightResult(Document):
    """Result of the stage `preflight`: can the two be compared, and what to keep in mind."""

    shared_vocabulary: int
    layers: int
    width: int
    same_template: bool
    warnings: list[str]
    facts: dict[str, Any]


class WeightsResult(Document):
    """Result of the stage `weights`: how much of the weights moved, and where."""

    tensors: int
    parameters: int
    unchanged_share: float
    relative_change: float
    """||dW||_F / ||W||_F over all tensors together."""
    compared_in: str
    """Dtype in which equality was judged: the base's stored one."""
    changed_tensors: int
    largest: list[str]
    """Names of the tensors with the largest relative change, at most 10."""


class DirectionDrift(Document):
    """Sequence KL of one direction, prefixes sampled from its first model."""

    sequence_kl: Estimate
    """KL(p || q) of whole sampled sequences, nats, exact over the vocabulary at each step."""
    per_token: float
    tokens: int
    outlier_threshold: float
    outliers: int
    prefix_curve: list[Estimate]
    """Cumulative KL up to each step."""


class NoiseFloor(Document):
    """The base against itself, reloaded in another dtype and scored in another batch size."""

    dtype: str
    batch_size: int
    sequence_kl: Estimate
    upper: float
    """Upper end of its interval: drift below it is not told from reloading the model."""
    largest_step: float
    """Largest next-token KL of any step, nats."""


class DriftResult(Document):
    """Result of the stage `drift`."""

    forward: DirectionDrift
    """KL(base || tuned), prefixes from the base."""
    reverse: DirectionDrift
    """KL(tuned || base), prefixes from the tuned model."""
    noise_floor: NoiseFloor
    position: Literal["within", "above", "unclear"]
    """Against the noise floor. within: both intervals end below its upper end, and no single step exceeds its
    largest; above: an interval begins above its upper end; unclear: neither."""
    new_tokens: int
    sequences: int
