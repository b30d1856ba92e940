"""What a dictionary is trained on: reconstruction, sparsity, and work for dead latents.

Shapes: N activations, F latents, C = M * D. All in normalised units. Nothing here waits for the device.
"""

from __future__ import annotations

from typing import NamedTuple

import sae_kernels as sk
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae.dictionaries.coder import Coder
from sae.dictionaries.config import DictionaryConfig


class Outcome(NamedTuple):
    """One forward pass."""

    loss: Float[Tensor, ""]
    fired_F: Bool[Tensor, " F"]
    """Latents that had a code in this batch."""
    least: Float[Tensor, ""]
    """Smallest kept score (batchtopk), for the threshold; infinite if nothing was kept."""
    cut: Int[Tensor, ""]
    """Activations for whose codes there may have been no room; see `Pressure.room`."""


class Pressure(NamedTuple):
    """What changes from step to step."""

    k: float
    l1: float
    dead: Int[Tensor, " dead"] | None
    """Latents that are to explain the residual."""
    room: int = 128
    """Codes of one activation that kernels on a device have room for (batchtopk, jumprelu)."""


class Read(NamedTuple):
    """What the coder reads and with which weights, in the precision of its products."""

    x_NC: Float[Tensor, "N C"]
    encoder_FC: Float[Tensor, "F C"]
    bias_F: Float[Tensor, " F"]
    decoder_FC: Float[Tensor, "F C"]


def batchtopk(coder: Coder, x_NMD: Float[Tensor, "N M D"], config: DictionaryConfig, at: Pressure) -> Outcome:
    """The error, see `_size`, plus AuxK, with the n k largest scores of a batch of n kept.

    Minder et al. 2025 (arXiv 2504.02922), as their code has it: scores are f_j (|d_j^B| + |d_j^T|), and codes
    are not rescaled; for one model Bussmann et al. 2024 (arXiv 2412.06410).
    """
    read = _read(coder, x_NMD, config)
    with torch.no_grad():
        scale = coder.weight_F / coder.penalty_F
        kept = sk.encode_batchtopk(
            read.x_NC,
            read.encoder_FC.T,
            read.bias_F,
            round(at.k * len(x_NMD)),
            scale=scale,
            row_capacity=at.room,
        )
    loss = _explained(coder, x_NMD, read, kept, config, at)
    return Outcome(loss, _fired(kept.columns, len(scale)), kept.least, kept.overflow)


def topk(coder: Coder, x_NMD: Float[Tensor, "N M D"], config: DictionaryConfig, at: Pressure) -> Outcome:
    """As `batchtopk`, with the k largest of each activation kept (Gao et al. 2024, arXiv 2406.04093)."""
    read = _read(coder, x_NMD, config)
    with torch.no_grad():
        kept = sk.encode_topk(
            read.x_NC, read.encoder_FC.T, read.bias_F, config.k, scale=coder.weight_F / coder.penalty_F
        )
    loss = _explained(coder, x_NMD, read, kept, config, at)
    return Outcome(loss, _fired(kept.indices, config.latents), _never(loss), torch.zeros_like(kept.repairs))


def jumprelu(coder: Coder, x_NMD: Float[Tensor, "N M D"], config: DictionaryConfig, at: Pressure) -> Outcome:
    """Mean norm of the error, and AuxK, plus sparsity * (L0 / k - 1)^2, whose gradient moves the thresholds.

    Rajamanoharan et al. 2024 (arXiv 2407.14435), with the quadratic penalty of their section on a fixed L0.
    """
    read, threshold = _read(coder, x_NMD, config), coder.threshold_F
    with torch.no_grad():
        band = sk.encode_band(
            read.x_NC,
            read.encoder_FC.T,
            read.bias_F,
            threshold,
            config.bandwidth,
            min(at.room, config.latents),
        )
    x, encoder, bias, decoder = read
    active, decoded = sk.autoencode_jumprelu(x, encoder, bias, threshold, decoder, band, config.bandwidth)
    error = _error(coder, x_NMD, decoded)
    loss = error.norm(dim=-1).mean() + _auxiliary(read, error, config, at)
    loss = loss + config.sparsity * (active.sum(1).mean() / at.k - 1).square()
    fired = _fired(torch.where(active > 0, band.indices, -1), config.latents)
    return Outcome(loss, fired, _never(loss), band.full.to(torch.int32))


def l1(coder: Coder, x_NMD: Float[Tensor, "N M D"], config: DictionaryConfig, at: Pressure) -> Outcome:
    """Squared error summed over models, plus lambda * sum_j c_j f_j sum_m |d_j^m| (Lindsey et al. 2024).

    c_j is 1, or the shared latents' own factor (their model-diffing update of February 2025).
    """
    x, encoder, bias, decoder = _read(coder, x_NMD, config)
    codes = (x @ encoder.T + bias.to(x.dtype)).relu()
    error = _error(coder, x_NMD, codes @ decoder)
    penalty = (codes * (coder.weight_F * coder.penalty_F)).sum(1).mean()
    loss = error.square().sum((1, 2)).mean() + at.l1 * penalty
    none = torch.zeros((), dtype=torch.int32, device=x.device)
    return Outcome(loss, (codes > 0).any(0), torch.zeros_like(loss), none)


OBJECTIVES = {"batchtopk": batchtopk, "topk": topk, "jumprelu": jumprelu, "l1": l1}


def auxk(
    read: Read, error_NC: Float[Tensor, "N C"], dead: Int[Tensor, " dead"], most: int
) -> Float[Tensor, ""]:
    """|e - e_dead|^2 / Var(e): the `most` largest dead latents explain the error (Gao et al. 2024)."""
    decoded = sk.auxk(*read, dead, min(most, len(dead))).float()
    missed = (error_NC - decoded).square().sum()
    return missed / (error_NC - error_NC.mean(0)).square().sum().clamp(min=1e-12)


def _read(coder: Coder, x_NMD: Float[Tensor, "N M D"], config: DictionaryConfig) -> Read:
    encoder, bias, decoder = coder.flat()
    dtype = torch.float32 if config.precision == "float32" else torch.bfloat16
    return Read(x_NMD.flatten(1).to(dtype), encoder.to(dtype), bias, decoder.to(dtype))


def _explained(
    coder: Coder,
    x_NMD: Float[Tensor, "N M D"],
    read: Read,
    kept: sk.Encoded | sk.Kept,
    config: DictionaryConfig,
    at: Pressure,
) -> Float[Tensor, ""]:
    error = _error(coder, x_NMD, sk.autoencode(*read, kept).decoded)
    return _size(error, config) + _auxiliary(read, error, config, at)


def _error(coder: Coder, x_NMD: Float[Tensor, "N M D"], decoded_NC: Tensor) -> Float[Tensor, "N M D"]:
    return x_NMD - decoded_NC.float().view_as(x_NMD) - coder.bias_MD


def _size(error_NMD: Float[Tensor, "N M D"], config: DictionaryConfig) -> Float[Tensor, ""]:
    """Of a pair the mean over models and tokens of the error's norm, unsquared, as Minder et al. have it.

    Of a plain SAE about the share of squares that is left, what FVE measures: the mean norm of x is sqrt(D).
    """
    if config.plain:
        return error_NMD.square().mean()
    size: Tensor = error_NMD.norm(dim=-1).mean()
    return size


def _auxiliary(
    read: Read, error_NMD: Float[Tensor, "N M D"], config: DictionaryConfig, at: Pressure
) -> Tensor | float:
    """Half the width of a stream may work at a time, as Gao et al. advise."""
    if at.dead is None:
        return 0.0
    most = max(1, error_NMD.shape[-1] // 2)
    return config.aux * auxk(read, error_NMD.detach().flatten(1), at.dead, most)


def _fired(latents: Int[Tensor, "*any"], count: int) -> Bool[Tensor, " F"]:
    """Latents that are named; -1 is none."""
    place = torch.where(latents < 0, count, latents).flatten()
    hits = torch.zeros(count + 1, device=latents.device).index_fill_(0, place, 1.0)
    fired: Tensor = hits[:-1] > 0
    return fired


def _never(loss: Tensor) -> Float[Tensor, ""]:
    return torch.full_like(loss.detach(), torch.inf)
