"""What a dictionary is trained on: reconstruction, sparsity, and work for dead latents.

Shapes: N tokens, F latents, C = M * D, K kept entries. All in normalised units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae.dictionaries.coder import Coder
from sae.dictionaries.config import DictionaryConfig
from sae.dictionaries.sparse import Kept, autoencode_dense, autoencode_sparse, largest


class Outcome(NamedTuple):
    """One forward pass."""

    loss: Float[Tensor, ""]
    fired_F: Bool[Tensor, " F"]
    """Latents that had a code in this batch."""
    least: Float[Tensor, ""]
    """Smallest kept score (batchtopk), for the threshold; infinite if nothing was kept."""


class Pressure(NamedTuple):
    """What changes from step to step."""

    k: float
    l1: float
    dead: Int[Tensor, " dead"] | None
    """Latents that are to explain the residual."""


def batchtopk(coder: Coder, x_NMD: Float[Tensor, "N M D"], config: DictionaryConfig, at: Pressure) -> Outcome:
    """Mean over models and tokens of the L2 norm of the error, unsquared, plus AuxK.

    Minder et al. 2025 (arXiv 2504.02922), as their code has it: 1/2 |e^B| + 1/2 |e^T|, and the n k largest
    scores f_j (|d_j^B| + |d_j^T|) of a batch of n are kept; codes are not rescaled.
    """
    x, (encoder, bias, decoder) = x_NMD.flatten(1), coder.flat()
    with torch.no_grad():
        codes = (x @ encoder.T).add_(bias).relu_()
        score = codes * (coder.weight_F / coder.penalty_F)
        kept = largest(score, round(at.k * len(x)))
        scores_K = score[kept]
    if x.device.type == "cpu":
        out = autoencode_sparse(x, encoder, bias, decoder, kept, codes[kept])
    else:
        out = autoencode_dense(x, encoder, bias, decoder, kept)
    error = x_NMD - out.decoded_NC.view_as(x_NMD) - coder.bias_MD
    loss = error.norm(dim=-1).mean()
    if at.dead is not None:
        loss = loss + config.aux * auxk(coder, x, error.detach().flatten(1), at.dead)
    least = torch.where(scores_K > 0, scores_K, torch.inf).min()
    return Outcome(loss, _fired(kept, scores_K, len(bias)), least)


def l1(coder: Coder, x_NMD: Float[Tensor, "N M D"], config: DictionaryConfig, at: Pressure) -> Outcome:
    """Squared error summed over models, plus lambda * sum_j c_j f_j sum_m |d_j^m| (Lindsey et al. 2024).

    c_j is 1, or the shared latents' own factor (their model-diffing update of February 2025).
    """
    encoder, bias, decoder = coder.flat()
    codes = (x_NMD.flatten(1) @ encoder.T + bias).relu()
    error = x_NMD.flatten(1) - codes @ decoder - coder.bias_MD.flatten()
    penalty = (codes * (coder.weight_F * coder.penalty_F)).sum(1).mean()
    loss = error.square().sum(1).mean() + at.l1 * penalty
    return Outcome(loss, (codes > 0).any(0), torch.zeros_like(loss))


OBJECTIVES = {"batchtopk": batchtopk, "l1": l1}


def auxk(
    coder: Coder, x_NC: Float[Tensor, "N C"], error_NC: Float[Tensor, "N C"], dead: Int[Tensor, " dead"]
) -> Float[Tensor, ""]:
    """|e - e_dead|^2 / Var(e): the D/2 largest dead latents per token explain the error (Gao et al. 2024)."""
    encoder, bias, decoder = (part[dead] for part in coder.flat())
    codes = (x_NC @ encoder.T + bias).relu()
    most = max(1, coder.decoder_FMD.shape[-1] // 2)
    if most < len(dead):
        top = codes.topk(most, dim=1, sorted=False)
        codes = torch.zeros_like(codes).scatter(1, top.indices, top.values)
    missed = (error_NC - codes @ decoder).square().sum()
    return missed / (error_NC - error_NC.mean(0)).square().sum().clamp(min=1e-12)


def _fired(kept: Kept, scores_K: Tensor, latents: int) -> Tensor:
    hits = scores_K.new_zeros(latents).index_add_(0, kept.column_K, (scores_K > 0).to(scores_K.dtype))
    return hits > 0
