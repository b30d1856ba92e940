"""Sufficient statistics of every latent, gathered in one streaming pass; ratios are taken at the end.

Shapes: F latents, M models (0 base, 1 tuned); in `_FPM` tensors P is the side whose decoder row probes and M
the model that is probed. All sums are float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae.features.active import Active, Carrying, Products, active_pairs, products, read
from sae.features.labels import DocumentSums
from sae.types import PairedActivations, PairedDictionary

PIECE = 2048
"""Tokens taken in at once: bounds the dense codes and the open documents."""


@dataclass(frozen=True)
class LatentStatistics:
    """What one pass over the activations leaves of F latents."""

    tokens: int
    documents: int
    joint: bool
    """Both models share one code (crosscoder)."""
    carries: bool
    """The base is passed through (difference SAE): there is no base-side error to scale against."""
    fires_F: Float[Tensor, " F"]
    """Tokens with a code on any side."""
    fires_FM: Float[Tensor, "F 2"]
    """Tokens on which the latent is active in model m; of a joint code see `sided`."""
    sum_FM: Float[Tensor, "F 2"]
    """Sum of the activations there."""
    largest_F: Float[Tensor, " F"]
    """Largest code of any side."""
    code_FP: Float[Tensor, "F 2"]
    """Sum of codes f^p."""
    code_FPM: Float[Tensor, "F 2 2"]
    """Sum of f^p f^m."""
    error_FPM: Float[Tensor, "F 2 2"]
    """Sum of f^p <d^p, x^m - x̂^m>."""
    raw_FPM: Float[Tensor, "F 2 2"]
    """Sum of f^p <d^p, x^m>."""
    swap_sum_FP: Float[Tensor, "F 2"]
    """Sum over documents of D = sum_tokens f^p <d^p, y^T - y^B>, with y^m = x^m - x̂^m + f^m d^m."""
    swap_square_FP: Float[Tensor, "F 2"]
    """Sum over documents of D squared."""
    mean_MD: Float[Tensor, "2 D"]
    """Mean activation."""
    bias_MD: Float[Tensor, "2 D"]
    decoder_FMD: Float[Tensor, "F 2 D"]

    @property
    def rate_F(self) -> Float[Tensor, " F"]:
        """Share of tokens with a code on any side."""
        return self.fires_F / self.tokens

    @property
    def rate_FM(self) -> Float[Tensor, "F 2"]:
        """Share of tokens on which the latent is active in each model."""
        return self.fires_FM / self.tokens

    @property
    def mean_FM(self) -> Float[Tensor, "F 2"]:
        """Mean activation where it is active; 0 where it never is."""
        return self.sum_FM / self.fires_FM.clamp(min=1)

    @property
    def norm_FM(self) -> Float[Tensor, "F 2"]:
        """Decoder norms."""
        norm: Tensor = self.decoder_FMD.double().norm(dim=-1)
        return norm

    @property
    def gram_FPM(self) -> Float[Tensor, "F 2 2"]:
        """<d^p, d^m>."""
        rows = self.decoder_FMD.double()
        gram: Tensor = rows @ rows.transpose(1, 2)
        return gram


def latent_statistics(
    stream: Iterable[PairedActivations],
    dictionary: PairedDictionary,
    *,
    joint: bool,
    layer: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> LatentStatistics:
    """Reads the stream once.

    Args:
        stream: activations in document order.
        dictionary: on the device that is to do the work.
        joint: the dictionary has one code for both models.
        layer: index into the stream's hook points.
        progress: called with the number of tokens just read.

    Raises:
        ValueError: the stream is empty.
    """
    sums = _Sums(dictionary, joint=joint)
    for piece in stream:
        for start in range(0, len(piece.x_NLMD), PIECE):
            stop = start + PIECE
            sums.add(piece.x_NLMD[start:stop, layer], piece.info.document_N[start:stop])
        progress(len(piece.x_NLMD))
    return sums.finish()


def sided(
    code_PM: Float[Tensor, "P 2"],
    error_Ppm: Float[Tensor, "P 2 2"],
    latent_P: Tensor,
    gram_FPM: Float[Tensor, "F 2 2"],
) -> Float[Tensor, "P 2"]:
    """Activation of a joint code in each model: latent scaling of one token.

    a_m = <x_m - x̂_m + f d_m, d*> / |d*|^2, where d* is the decoder row of the side with the larger norm.
    """
    gram = gram_FPM[latent_P].to(code_PM.dtype)
    own = gram.diagonal(dim1=1, dim2=2)
    star = own.argmax(1)
    pick = torch.arange(len(star), device=star.device)
    along = error_Ppm[pick, star] + code_PM * gram[pick, star]
    return along / own[pick, star].clamp(min=torch.finfo(own.dtype).tiny)[:, None]


class _Sums:
    """The running sums of one pass."""

    def __init__(self, dictionary: PairedDictionary, *, joint: bool) -> None:
        self.dictionary, self.joint = dictionary, joint
        self.decoder = dictionary.decoder_FMD.detach().float()
        latents, _, width = self.decoder.shape
        self.gram = self.decoder.double() @ self.decoder.double().transpose(1, 2)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=self.decoder.device)

        self.fires, self.largest = zeros(latents), zeros(latents)
        self.fires_m, self.sum_m, self.code_p = zeros(latents, 2), zeros(latents, 2), zeros(latents, 2)
        self.code, self.error, self.raw = (zeros(latents, 2, 2) for _ in range(3))
        self.total = zeros(2, width)
        self.documents = DocumentSums(latents, self.decoder.device)
        self.tokens = 0

    @torch.no_grad()
    def add(self, x_NMD: Float[Tensor, "N 2 D"], document_N: Int[Tensor, " N"]) -> None:
        """Takes some tokens in."""
        x = x_NMD.to(self.decoder.device).float()
        codes, error = read(self.dictionary, x)
        self.tokens += len(x)
        self.total += x.double().sum(0)
        active = active_pairs(codes, joint=self.joint)
        document = document_N.to(self.decoder.device)
        self.documents.open(document)
        for part in products(active, error, x, self.decoder):
            self._add_part(part, document)

    def _add_part(self, part: Products, document_N: Tensor) -> None:
        latent, code = part.active.latent_P, part.active.code_PM
        self.fires.index_add_(0, latent, torch.ones_like(latent, dtype=torch.float64))
        self.largest.scatter_reduce_(0, latent, code.amax(1).double(), "amax")
        self._add_sides(part)
        wide = code.double()
        error, raw = part.error_Ppm.double(), part.raw_Ppm.double()
        self.code_p.index_add_(0, latent, wide)
        self.code.index_add_(0, latent, wide[:, :, None] * wide[:, None, :])
        self.error.index_add_(0, latent, wide[:, :, None] * error)
        self.raw.index_add_(0, latent, wide[:, :, None] * raw)
        own = error + self.gram[latent] * wide[:, None, :]
        swap = wide * (own[:, :, 1] - own[:, :, 0])
        self.documents.add(document_N[part.active.token_P], latent, swap)

    def _add_sides(self, part: Products) -> None:
        """Per-model activity: own codes where there are two, else the joint code projected per model.

        A joint latent counts as active in a model where it has at least half of its code there.
        """
        active: Active = part.active
        value, least = active.code_PM, active.code_PM.clamp(min=0)
        if self.joint:
            value = sided(active.code_PM, part.error_Ppm, active.latent_P, self.gram)
            least = active.code_PM / 2
        on = (value > 0) & (value >= least)
        self.fires_m.index_add_(0, active.latent_P, on.double())
        self.sum_m.index_add_(0, active.latent_P, torch.where(on, value, 0).double())

    def finish(self) -> LatentStatistics:
        """The sums on the CPU."""
        if not self.tokens:
            raise ValueError("there are no activations to take statistics of")
        swaps = self.documents.close()
        return LatentStatistics(
            tokens=self.tokens,
            documents=swaps.documents,
            joint=self.joint,
            carries=_carries(self.dictionary),
            fires_F=self.fires.cpu(),
            fires_FM=self.fires_m.cpu(),
            sum_FM=self.sum_m.cpu(),
            largest_F=self.largest.cpu(),
            code_FP=self.code_p.cpu(),
            code_FPM=self.code.cpu(),
            error_FPM=self.error.cpu(),
            raw_FPM=self.raw.cpu(),
            swap_sum_FP=swaps.sum_FP.cpu(),
            swap_square_FP=swaps.square_FP.cpu(),
            mean_MD=(self.total / self.tokens).cpu(),
            bias_MD=self.dictionary.bias_MD.detach().double().cpu(),
            decoder_FMD=self.decoder.cpu(),
        )


def _carries(dictionary: PairedDictionary) -> bool:
    """Whether a part of the activations is passed through rather than explained."""
    if not isinstance(dictionary, Carrying):
        return False
    probe = torch.ones(1, *dictionary.bias_MD.shape, device=dictionary.bias_MD.device)
    return bool((dictionary.carried(probe) != 0).any())
