"""Latent scaling: how much of a latent, as one model's decoder row has it, is present in each model.

Minder et al. 2025 (arXiv 2504.02922): beta_j^m(y) = argmin_b sum_i |b f_j(x_i) d_j - y_i^m|^2
= sum_i f_j(x_i) <d_j, y_i^m> / (|d_j|^2 sum_i f_j(x_i)^2). Here with the rows of both sides as probes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae.features.statistics import LatentStatistics

TRUST = 0.5
"""A side's decoder row is a probe worth reading where its norm is at least this share of the other's."""


@dataclass(frozen=True)
class Scaling:
    """Betas [F, p, m] with the probe d^p in model m, and the ratios nu [F, p].

    nu[:, 1] is beta^B / beta^T with the tuned row, nu[:, 0] beta^T / beta^B with the base's: near 1 where
    both models have the latent, near 0 where only the probe's side has it. NaN where it is not defined: a row
    of norm 0, a latent that never fired, an own beta that is not positive.
    """

    beta_error_FPM: Float[Tensor, "F 2 2"]
    """On the leave-one-out error y^m = x^m - x̂^m + f d^m."""
    beta_reconstruction_FPM: Float[Tensor, "F 2 2"]
    """On the reconstruction without its bias, y^m = x̂^m - b^m."""
    beta_activation_FPM: Float[Tensor, "F 2 2"]
    """On the activation about its mean, y^m = x^m - mean."""
    nu_error_FP: Float[Tensor, "F 2"]
    nu_reconstruction_FP: Float[Tensor, "F 2"]
    nu_activation_FP: Float[Tensor, "F 2"]
    trusted_FP: Bool[Tensor, "F 2"]
    """Probes whose norm is at least `TRUST` of the other side's."""


def latent_scaling(statistics: LatentStatistics) -> Scaling:
    """Betas and their ratios from the sums of one pass."""
    s, gram = statistics, statistics.gram_FPM
    own = gram.diagonal(dim1=1, dim2=2) * s.code_FPM.diagonal(dim1=1, dim2=2)  # |d^p|^2 sum f^p f^p
    scale = torch.where(own > 0, own, torch.nan)[:, :, None]
    rows = s.decoder_FMD.double()
    bias, mean = (s.code_FP[:, :, None] * (rows @ y.T) for y in (s.bias_MD, s.mean_MD))
    error = (s.error_FPM + gram * s.code_FPM) / scale
    reconstruction = (s.raw_FPM - s.error_FPM - bias) / scale
    if s.carries:  # x̂ is the base itself plus a difference: neither is what the formulas speak of
        error, reconstruction = torch.full_like(error, torch.nan), torch.full_like(error, torch.nan)
    activation = (s.raw_FPM - mean) / scale
    norm = s.norm_FM
    return Scaling(
        error,
        reconstruction,
        activation,
        ratio(error),
        ratio(reconstruction),
        ratio(activation),
        (norm > 0) & (norm >= TRUST * norm.amax(1, keepdim=True)),
    )


def ratio(beta_FPM: Float[Tensor, "F 2 2"]) -> Float[Tensor, "F 2"]:
    """nu: the other model's beta over the probe's own; NaN where the own one is not positive."""
    own = beta_FPM.diagonal(dim1=1, dim2=2)
    other = torch.stack([beta_FPM[:, 0, 1], beta_FPM[:, 1, 0]], dim=1)
    return other / torch.where(own > 0, own, torch.nan)


def exclusivity(scaling: Scaling) -> Float[Tensor, "F 2"]:
    """1 - the larger nu of error and reconstruction, between 0 (both have it) and 1 (only this side has it).

    Where they are not defined (difference SAE) the activation's nu stands in; an untrusted or undefined probe
    says nothing: 0.
    """
    both = torch.maximum(scaling.nu_error_FP, scaling.nu_reconstruction_FP)
    nu = torch.where(scaling.beta_error_FPM.isnan().all((1, 2))[:, None], scaling.nu_activation_FP, both)
    value = 1 - nu.clamp(0, 1)
    return torch.where(scaling.trusted_FP & ~value.isnan(), value, 0.0)


def decoder_cosine(statistics: LatentStatistics) -> Float[Tensor, " F"]:
    """Cosine of the two decoder rows; NaN where one has norm 0."""
    norm = statistics.norm_FM
    product = norm.prod(1)
    return statistics.gram_FPM[:, 0, 1] / torch.where(product > 0, product, torch.nan)


def delta_norm(statistics: LatentStatistics) -> Float[Tensor, " F"]:
    """(1 + (|d^T| - |d^B|) / max) / 2: 0 base only, 1 tuned only, .5 equal; NaN without rows."""
    norm = statistics.norm_FM
    largest = norm.amax(1)
    return (1 + (norm[:, 1] - norm[:, 0]) / torch.where(largest > 0, largest, torch.nan)) / 2
