"""How a latent's score compares with nulls: benign fine-tunes, and shuffled labels.

The score combines what makes a latent look switched, asymmetry of latent scaling and rotation of the decoder
row; the norm ratio alone never moves it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from scipy.stats import false_discovery_control
from torch import Tensor

from sae.features.labels import label_p_values
from sae.features.scaling import Scaling, decoder_cosine, exclusivity
from sae.features.statistics import LatentStatistics

PER_BIN = 1000
"""Null latents that a bin of firing rates needs at least."""
BINS = 5
LEVEL = 0.05
"""False discovery rate at which a latent is reported as a finding."""


class NullSample(NamedTuple):
    """Scores and firing rates of the live latents of dictionaries trained on (base, benign fine-tune)."""

    score_K: Float[Tensor, " K"]
    rate_K: Float[Tensor, " K"]

    @classmethod
    def of(cls, statistics: LatentStatistics, scaling: Scaling, live_F: Bool[Tensor, " F"]) -> NullSample:
        """The live latents of one null dictionary."""
        return cls(switch_score(statistics, scaling)[live_F], statistics.rate_F[live_F])

    def __add__(self, other: object) -> NullSample:
        """Two nulls pooled."""
        if not isinstance(other, NullSample):
            return NotImplemented
        return NullSample(torch.cat([self.score_K, other.score_K]), torch.cat([self.rate_K, other.rate_K]))


class QValues(NamedTuple):
    """p- and q-values of F latents; NaN where a latent is not live or there is no null."""

    benign_p_F: Float[Tensor, " F"]
    label_p_F: Float[Tensor, " F"]
    q_F: Float[Tensor, " F"]


def switch_score(statistics: LatentStatistics, scaling: Scaling) -> Float[Tensor, " F"]:
    """max(exclusivity of either side, rotation): 0 equal in both models, 1 in one only or at right angles.

    Rotation is 1 - cosine of the two rows, counted only as far as both sides have the latent: times the
    smaller norm over half of the larger, at most 1.
    """
    norm = statistics.norm_FM
    shared = (2 * norm.amin(1) / norm.amax(1).clamp(min=torch.finfo(norm.dtype).tiny)).clamp(max=1)
    turned = (1 - decoder_cosine(statistics).nan_to_num(nan=1.0).clamp(0, 1)) * shared
    return torch.maximum(exclusivity(scaling).amax(1), turned)


def benign_p_values(
    score_F: Float[Tensor, " F"], rate_F: Float[Tensor, " F"], null: NullSample
) -> Float[Tensor, " F"]:
    """(1 + null latents of similar firing rate with at least this score) / (1 + null latents of that rate).

    Rank p-values against a calibration sample (conformal p-values: Bates et al. 2023, Annals of Statistics
    51(1)). Rates are compared in quantile bins of the null, as many as keep `PER_BIN` latents in each.
    """
    bins = max(1, min(BINS, len(null.score_K) // PER_BIN))
    inner = torch.linspace(0, 1, bins + 1, dtype=null.rate_K.dtype)[1:-1]
    edges = null.rate_K.quantile(inner) if bins > 1 else null.rate_K[:0]
    here, there = torch.bucketize(rate_F, edges), torch.bucketize(null.rate_K, edges)
    p = torch.empty_like(score_F)
    for number in range(bins):
        calibration = null.score_K[there == number].sort().values
        mine = here == number
        above = len(calibration) - torch.searchsorted(calibration, score_F[mine].contiguous())
        p[mine] = (1 + above).to(p.dtype) / (1 + len(calibration))
    return p


def against_nulls(
    statistics: LatentStatistics,
    scaling: Scaling,
    live_F: Bool[Tensor, " F"],
    null: NullSample | None,
) -> QValues:
    """Both nulls have to be rejected: the larger p counts; Benjamini-Hochberg over the live latents.

    Without a benign null, or with an empty one, q is NaN throughout.
    """
    nothing = torch.full((len(live_F),), torch.nan, dtype=torch.float64)
    labels = label_p_values(statistics.swap_sum_FP, statistics.swap_square_FP, scaling.trusted_FP)
    labels = torch.where(live_F, labels, nothing)
    if null is None or not len(null.score_K) or not live_F.any():
        return QValues(nothing, labels, nothing.clone())
    benign, q = nothing.clone(), nothing.clone()
    score = switch_score(statistics, scaling)
    benign[live_F] = benign_p_values(score[live_F], statistics.rate_F[live_F], null)
    larger = torch.maximum(benign, labels)[live_F]
    q[live_F] = torch.from_numpy(false_discovery_control(larger.numpy(), method="bh"))
    return QValues(benign, labels, q)


def least_findings(live: int, null: int, level: float = LEVEL) -> int:
    """How many latents have to stand out together before any q can reach the level.

    The smallest rank p-value is 1 / (1 + null latents); Benjamini-Hochberg asks k of them for
    p <= level k / live.
    """
    return -int(-(live / (level * (1 + null))) // 1)
