"""AuxK: what dead latents alone would say of an error (Gao et al. 2024, arXiv 2406.04093, appendix A.2).

    L_aux = |e - ê|^2,  ê decoded from the k_aux largest codes among the dead latents

Only the columns of dead latents are gathered and multiplied; nothing has F columns. Where the k_aux are more
than a few of the dead ones, products over all of those are cheaper than rows gathered entry by entry.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sae_kernels.autoencode import autoencode, autoencode_plain
from sae_kernels.checks import need
from sae_kernels.encode import encode_topk, encode_topk_plain
from sae_kernels.types import Encoded

SPARSE = 16
"""How much dearer an entry is to gather than to multiply; roughly, on every machine."""


def encode_dead(
    x: Tensor, encoder: Tensor, bias: Tensor, dead: Tensor, k: int, *, path: str = "auto"
) -> Encoded:
    """The k largest codes per token among dead latents, under the latents' own numbers.

    Args:
        x: [N, C'].
        encoder: [F, C'], a row per latent.
        bias: [F].
        dead: int64 [dead], ascending; at least one.
        k: how many to keep, at most all of them.
        path: as in `encode_topk`.

    Raises:
        KernelError: there are no dead latents, or shapes do not fit.
    """
    need(len(dead) > 0, "no latent is dead", "dead", "leave the loss out")
    found = encode_topk(x, encoder[dead].T, bias[dead], min(k, len(dead)), path=path)
    return found._replace(indices=_named(found.indices, dead))


def encode_dead_plain(x: Tensor, encoder: Tensor, bias: Tensor, dead: Tensor, k: int) -> Encoded:
    """The plain twin of `encode_dead`: all columns, masked."""
    alive = torch.ones(len(encoder), dtype=torch.bool, device=x.device).index_fill(0, dead, False)
    never = bias.masked_fill(alive, -torch.inf)
    return encode_topk_plain(x, encoder.T, never, min(k, len(dead)))


def auxk(
    x: Tensor, encoder: Tensor, bias: Tensor, decoder: Tensor, dead: Tensor, k: int, *, path: str = "auto"
) -> Tensor:
    """What the k largest codes of dead latents decode to, with gradients for those latents' rows alone.

    Args:
        x: as in `encode_dead`.
        encoder: as in `encode_dead`.
        bias: as in `encode_dead`.
        decoder: [F, C].
        dead: as in `encode_dead`.
        k: as in `encode_dead`.
        path: as in `encode_topk`, where few of the dead latents are kept.

    Returns:
        [N, C].
    """
    encoder, bias, decoder = encoder[dead], bias[dead], decoder[dead]
    if SPARSE * k >= len(dead):
        return _by_products(x, encoder, bias, decoder, k)
    with torch.no_grad():
        codes = encode_topk(x, encoder.T, bias, k, path=path)
    return autoencode(x, encoder, bias, decoder, codes, path="plain" if path == "plain" else "auto").decoded


def auxk_plain(x: Tensor, encoder: Tensor, bias: Tensor, decoder: Tensor, dead: Tensor, k: int) -> Tensor:
    """The plain twin of `auxk`."""
    with torch.no_grad():
        codes = encode_dead_plain(x, encoder, bias, dead, k)
    return autoencode_plain(x, encoder, bias, decoder, codes).decoded


def _by_products(x: Tensor, encoder: Tensor, bias: Tensor, decoder: Tensor, k: int) -> Tensor:
    codes = torch.nn.functional.linear(x, encoder, bias.to(x.dtype)).relu()
    if k < len(encoder):
        top = codes.topk(k, dim=1, sorted=False)
        codes = torch.zeros_like(codes).scatter(1, top.indices, top.values)
    return codes @ decoder


def _named(indices: Tensor, dead: Tensor) -> Tensor:
    return torch.where(indices < 0, -1, dead[indices.clamp(min=0)])
