"""Settings of a dictionary, a docstring under each field."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sae.errors import DictionaryError

Kind = Literal["crosscoder", "difference"]
Activation = Literal["batchtopk", "l1"]
SharedArchitecture = Literal["topk", "batchtopk", "jumprelu"]
SHARED_ARCHITECTURES: tuple[SharedArchitecture, ...] = ("topk", "batchtopk", "jumprelu")


@dataclass(frozen=True)
class DictionaryConfig:
    """How a dictionary is trained; the defaults suit ten thousand to a million tokens.

    Raises:
        DictionaryError: a value makes no sense.
    """

    kind: Kind = "crosscoder"
    """crosscoder: one code for both models; difference: an SAE of what the tuned model adds to the base."""
    latents: int = 1024
    """Width F of the dictionary."""
    activation: Activation = "batchtopk"
    """What keeps codes sparse: the k largest per token on average, or an L1 penalty."""
    k: int = 32
    """Latents active per token on average (batchtopk)."""
    k_start: int = 64
    """The same at the first step, at most `latents`; it falls linearly to `k`."""
    k_share: float = 0.2
    """Share of the steps over which `k_start` falls to `k`."""
    l1: float = 2.0
    """Weight of the L1 penalty on code times sum of decoder norms (l1), reached after `l1_share`."""
    l1_share: float = 0.05
    """Share of the steps over which the L1 weight rises."""
    shared: int = 0
    """Latents, the first ones, whose decoders are held equal in both models (crosscoder)."""
    shared_penalty: float = 0.7
    """What a shared latent's activity costs relative to that of another: factor of its L1 penalty, divisor of
    its BatchTopK score."""
    steps: int = 300
    """Optimiser steps."""
    batch_size: int = 512
    """Tokens per step."""
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
            "dead_after",
            "calibration",
            "checkpoint_every",
        ):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("k_share", "l1_share", "warm_up", "decay"):
            _check(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
        for name in ("lr", "clip", "shared_penalty"):
            _check(getattr(self, name) > 0, name, getattr(self, name), "positive")
        for name in ("l1", "aux", "seed"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        _check(self.k <= self.latents, "k", self.k, f"at most latents ({self.latents})")
        _check(0 <= self.shared <= self.latents, "shared", self.shared, f"from 0 to latents ({self.latents})")
        _check(self.kind == "crosscoder" or self.shared == 0, "shared", self.shared, "0 in a difference SAE")
        _check(self.kind in ("crosscoder", "difference"), "kind", self.kind, "crosscoder or difference")
        _check(self.activation in ("batchtopk", "l1"), "activation", self.activation, "batchtopk or l1")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        return asdict(self)


@dataclass(frozen=True)
class SharedConfig:
    """How SAELens trains a single-model SAE.

    Raises:
        DictionaryError: a value makes no sense.
    """

    architecture: SharedArchitecture = "batchtopk"
    """topk and batchtopk keep the k largest codes; jumprelu learns a threshold per latent."""
    reads: Literal["base", "tuned", "mixed"] = "mixed"
    """Whose activations it is trained on; mixed: half of each batch from each model, the same tokens."""
    latents: int = 1024
    """Width F of the dictionary."""
    k: int = 32
    """Latents active per token; for jumprelu the L0 that its quadratic penalty aims at."""
    steps: int = 300
    """Optimiser steps."""
    batch_size: int = 512
    """Activations per step, an even number."""
    lr: float = 4e-3
    """Peak learning rate of Adam; it rises over 5 % and falls to zero over the last 30 % of the steps."""
    calibration: int = 16_384
    """Tokens that mean and scale of the activations are estimated on."""
    seed: int = 0
    """Seed of the initial weights."""
    device: str = "cpu"
    """Where it is trained."""

    def __post_init__(self) -> None:
        for name, wrong, fix in (
            (
                "architecture",
                self.architecture not in SHARED_ARCHITECTURES,
                "use topk, batchtopk or jumprelu",
            ),
            ("reads", self.reads not in ("base", "tuned", "mixed"), "use base, tuned or mixed"),
            ("k", not 1 <= self.k <= self.latents, f"use 1 to latents ({self.latents})"),
            ("steps", self.steps < 1, "use at least 1"),
            ("batch_size", self.batch_size < 2 or self.batch_size % 2, "use an even number"),
            ("calibration", self.calibration < 2, "use at least 2"),
            ("lr", self.lr <= 0, "use a positive one"),
        ):
            if wrong:
                raise DictionaryError(f"{getattr(self, name)!r} makes no sense", where=name, fix=fix)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        return asdict(self)


def _check(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise DictionaryError(f"{name} must be {wanted}, not {value!r}", where=name, fix="change the setting")
