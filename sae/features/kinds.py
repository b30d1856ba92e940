"""What kind of latent each is: by latent scaling, direction and tests, never by a norm ratio alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae.features.nulls import LEVEL
from sae.features.recurrence import ROTATION_BAR
from sae.features.scaling import Scaling, decoder_cosine, latent_scaling
from sae.features.statistics import LatentStatistics

Kind = Literal["base only", "tuned only", "shared", "rotated", "silenced", "dead", "unsure"]
KINDS: tuple[Kind, ...] = ("base only", "tuned only", "shared", "rotated", "silenced", "dead", "unsure")
SWITCHED: tuple[Kind, ...] = ("base only", "tuned only", "rotated")
"""Kinds that say that training changed the latent: each needs a q-value."""
SILENT: Kind = "silenced"
"""Its activation is as before and its effect on a behaviour is gone: it needs `Effects`."""


@dataclass(frozen=True)
class Thresholds:
    """Where one kind ends and another begins."""

    nu_error: float = 0.2
    """Exclusive below: the error does not hold the latent either (arXiv 2504.02922)."""
    nu_reconstruction: float = 0.5
    """Exclusive below: other latents do not stand in for it (likewise)."""
    shared_nu: float = 0.5
    """Shared needs both nu_error between this and its inverse."""
    cosine: float = ROTATION_BAR
    """Rotated below, shared from here; see `sae.features.recurrence.rotation_bar`."""
    present: float = 0.5
    """Rotated needs each row to explain its own model: beta on the own error between this and its inverse
    (and a norm that makes it a probe, `sae.features.scaling.TRUST`)."""
    dead_rate: float = 1e-4
    """Dead below this share of tokens."""
    least_fires: int = 10
    """Fewer firing tokens than this say nothing: dead where it never fires, else unsure."""
    level: float = LEVEL
    """Largest q-value of a finding."""
    kept: float = 0.8
    """Silenced needs rate and mean activation in the tuned model between this share of the base's and its
    inverse."""
    gone: float = 0.25
    """Silenced needs the effect in the tuned model to be at most this share of the base's."""
    material: float = 0.01
    """Silenced needs what was lost to be at least this share of the behaviour's change, in its direction."""


class Effects(NamedTuple):
    """Effect of each latent on one behaviour, by ablation or attribution, in each model."""

    base_F: Float[Tensor, " F"]
    """NaN where it was not measured."""
    tuned_F: Float[Tensor, " F"]
    q_F: Float[Tensor, " F"]
    """q-value of the difference of the two."""
    change: float
    """The behaviour's change, in the same units."""


class Kinds(NamedTuple):
    """What each latent is, and what it looks like before the null is asked."""

    kind: tuple[Kind, ...]
    candidate: tuple[Kind, ...]
    """By the thresholds alone."""


def live(statistics: LatentStatistics, thresholds: Thresholds | None = None) -> Bool[Tensor, " F"]:
    """Latents that fire often enough to say something of them."""
    limits = thresholds or Thresholds()
    return (statistics.rate_F >= limits.dead_rate) & (statistics.fires_F >= limits.least_fires)


def classify(
    statistics: LatentStatistics,
    q_values: Float[Tensor, " F"] | None,
    effects: Sequence[Effects] = (),
    *,
    scaling: Scaling | None = None,
    thresholds: Thresholds | None = None,
) -> Kinds:
    """The kind of every latent.

    Args:
        statistics: of one pass.
        q_values: against the nulls; None or NaN: not tested, so a latent that looks switched is unsure.
        effects: on each behaviour; a latent that is silenced for any of them is. Without them none is.
        scaling: if it was computed already.
        thresholds: where one kind ends and another begins.
    """
    limits = thresholds or Thresholds()
    candidates = _candidates(statistics, scaling or latent_scaling(statistics), limits)
    for one in effects:
        quiet = silenced(statistics, one, limits)
        candidates = [SILENT if q and c == "shared" else c for q, c in zip(quiet, candidates, strict=True)]
    q = [float("nan")] * len(candidates) if q_values is None else q_values.tolist()
    kinds = [
        "unsure" if candidate in SWITCHED and not value <= limits.level else candidate
        for candidate, value in zip(candidates, q, strict=True)
    ]
    return Kinds(tuple(kinds), tuple(candidates))


def silenced(statistics: LatentStatistics, effects: Effects, limits: Thresholds) -> Bool[Tensor, " F"]:
    """Active as before, but the part in the behaviour that it had in the base is gone in the tuned model."""
    rate, mean = statistics.rate_FM, statistics.mean_FM
    unchanged = torch.ones_like(rate[:, 0], dtype=torch.bool)
    for value in (rate, mean):
        share = value[:, 1] / torch.where(value[:, 0] > 0, value[:, 0], torch.nan)
        unchanged &= (share >= limits.kept) & (share <= 1 / limits.kept)
    gone = effects.tuned_F.abs() <= limits.gone * effects.base_F.abs()
    lost = effects.tuned_F - effects.base_F
    gone &= lost * effects.change >= limits.material * effects.change**2
    return unchanged & gone & (effects.base_F != 0) & (effects.q_F <= limits.level)


def _candidates(statistics: LatentStatistics, scaling: Scaling, limits: Thresholds) -> list[Kind]:
    cosine, nu = decoder_cosine(statistics), scaling.nu_error_FP
    only = scaling.trusted_FP & (nu < limits.nu_error)
    only &= scaling.nu_reconstruction_FP < limits.nu_reconstruction
    own = scaling.beta_error_FPM.diagonal(dim1=1, dim2=2)
    both = _between(own, limits.present).all(1) & scaling.trusted_FP.all(1)
    masks: Sequence[tuple[Kind, Tensor]] = (
        ("dead", (statistics.rate_F < limits.dead_rate) | (statistics.fires_F == 0)),
        ("unsure", ~live(statistics, limits)),
        ("rotated", both & (cosine < limits.cosine)),
        ("unsure", only.all(1)),
        ("base only", only[:, 0]),
        ("tuned only", only[:, 1]),
        ("shared", _between(nu, limits.shared_nu).all(1) & (cosine >= limits.cosine)),
    )
    found: list[Kind] = ["unsure"] * len(cosine)
    for kind, mask in reversed(masks):
        for latent in mask.nonzero().flatten().tolist():
            found[latent] = kind
    return found


def _between(value: Tensor, low: float) -> Bool[Tensor, ...]:
    return (value >= low) & (value <= 1 / low)
