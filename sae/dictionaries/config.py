"""Settings of a dictionary, a docstring under each field."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from sae.errors import DictionaryError

Kind = Literal["crosscoder", "difference", "shared"]
Activation = Literal["batchtopk", "topk", "jumprelu", "l1"]
Reads = Literal["base", "tuned", "mixed"]
Precision = Literal["float32", "bfloat16"]
CHOICES: dict[str, tuple[str, ...]] = {
    "kind": get_args(Kind),
    "activation": get_args(Activation),
    "reads": get_args(Reads),
    "precision": get_args(Precision),
}


@dataclass(frozen=True)
class DictionaryConfig:
    """How a dictionary is trained; the defaults suit ten thousand to a million tokens.

    Raises:
        DictionaryError: a value makes no sense.
    """

    kind: Kind = "crosscoder"
    """crosscoder: one code for both models; difference: an SAE of what the tuned model adds to the base;
    shared: an SAE of one stream, read on either model."""
    reads: Reads = "mixed"
    """Whose activations a shared one is trained on; mixed: half of a batch from each model, same tokens."""
    latents: int = 1024
    """Width F of the dictionary."""
    activation: Activation = "batchtopk"
    """What keeps codes sparse: the k largest per token on average (batchtopk) or of each (topk; shared only),
    a threshold per latent that is learnt (jumprelu), or an L1 penalty."""
    k: int = 32
    """Latents active per token (topk), on average (batchtopk), or aimed at (jumprelu)."""
    k_start: int = 64
    """The same at the first step, at most `latents`; it falls linearly to `k`. TopK has `k` throughout."""
    k_share: float = 0.2
    """Share of the steps over which `k_start` falls to `k`."""
    l1: float = 2.0
    """Weight of the L1 penalty on code times sum of decoder norms (l1), reached after `l1_share`."""
    l1_share: float = 0.05
    """Share of the steps over which the L1 weight rises."""
    sparsity: float = 10.0
    """Weight of (L0 / k - 1)^2 (jumprelu)."""
    bandwidth: float = 0.5
    """Width around a threshold within which it learns, in units of the pre-activation (jumprelu)."""
    shared: int = 0
    """Latents, the first ones, whose decoders are held equal in both models (crosscoder)."""
    shared_penalty: float = 0.7
    """What a shared latent's activity costs relative to that of another: factor of its L1 penalty, divisor of
    its BatchTopK score."""
    steps: int = 300
    """Optimiser steps."""
    batch_size: int = 512
    """Activations per step, in all processes together."""
    accumulate: int = 1
    """Parts that a process cuts its share of a batch into, one after another: less memory, the same step but
    that BatchTopK chooses and AuxK compares within a part."""
    precision: Precision = "float32"
    """Of products and gathers; weights, optimiser and sums stay in float32."""
    lr: float = 4e-3
    """Peak learning rate of Adam; the default suits some hundred steps, many thousands want less."""
    warm_up: float = 0.05
    """Share of the steps over which the learning rate rises."""
    decay: float = 0.3
    """Share of the steps over which it falls to zero, at the end."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    aux: float = 1 / 32
    """Weight of the loss that makes dead latents explain the residual; 0: none."""
    dead_after: int = 10_000
    """Tokens after which a latent that has not fired counts as dead in training."""
    calibration: int = 16_384
    """Tokens that mean and scale of the activations are estimated on."""
    seed: int = 0
    """Seed of the initial weights."""
    device: str = "cpu"
    """Where it is trained."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        for name in (
            "latents",
            "k",
            "k_start",
            "steps",
            "batch_size",
            "accumulate",
            "dead_after",
            "calibration",
            "checkpoint_every",
        ):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("k_share", "l1_share", "warm_up", "decay"):
            _check(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
        for name in ("lr", "clip", "shared_penalty", "bandwidth"):
            _check(getattr(self, name) > 0, name, getattr(self, name), "positive")
        for name in ("l1", "sparsity", "aux", "seed"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        _check(self.k <= self.latents, "k", self.k, f"at most latents ({self.latents})")
        _check(0 <= self.shared <= self.latents, "shared", self.shared, f"from 0 to latents ({self.latents})")
        _check(self.kind == "crosscoder" or self.shared == 0, "shared", self.shared, "0 but in a crosscoder")
        for name, choices in CHOICES.items():
            wanted = f"one of {', '.join(choices)}"
            _check(getattr(self, name) in choices, name, getattr(self, name), wanted)
        alone = self.kind == "shared"
        _check(alone or self.activation != "topk", "activation", self.activation, "another in a paired kind")
        cut = self.accumulate * self.sides
        _check(self.batch_size % cut == 0, "batch_size", self.batch_size, f"a multiple of {cut}")

    @property
    def sides(self) -> int:
        """Activations that a token gives."""
        return 2 if self.kind == "shared" and self.reads == "mixed" else 1

    @property
    def plain(self) -> bool:
        """Whether it is an SAE of one stream that keeps the largest codes: trained as those are elsewhere."""
        return self.kind == "shared" and self.activation in ("topk", "batchtopk")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        return asdict(self)


def _check(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise DictionaryError(f"{name} must be {wanted}, not {value!r}", where=name, fix="change the setting")
