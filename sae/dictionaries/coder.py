"""The coder while it is trained: normalised activations of M streams, one code, free thresholds.

Units here are normalised: each stream centred and scaled so that the mean norm is sqrt(D). `Coder.folded`
gives the same function in raw units, once and for all: what it returns has no normalisation left to fold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import sae_kernels as sk
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sae.dictionaries.config import DictionaryConfig
from sae.dictionaries.weights import Weights
from sae.errors import DictionaryError

TINY = 1e-12
ENCODER_NORM, DECODER_NORM, PLAIN_NORM = 0.3, 0.1, 0.15
"""Norms of a latent's rows over all streams when training starts; the last for both of a plain SAE's."""

HASTE = 10.0
"""How much faster learnt thresholds move than weights, of which Adam lets each go by the learning rate."""


class Normal(NamedTuple):
    """What makes streams comparable: z = (x - mean) * scale."""

    mean_MD: Float[Tensor, "M D"]
    scale_M: Float[Tensor, " M"]


def centre_and_scale(x_NMD: Float[Tensor, "N M D"]) -> Normal:
    """Mean of the activations, and the scale at which their mean distance from it is sqrt(D).

    Raises:
        DictionaryError: a number is not finite, or a stream never varies.
    """
    mean = x_NMD.double().mean(0)
    norm = (x_NMD - mean).norm(dim=-1).mean(0)
    if not bool(torch.isfinite(norm).all()):
        raise DictionaryError(
            "activations hold numbers that are not finite", where="stream", fix="run the models in float32"
        )
    if not bool((norm > 0).all()):
        raise DictionaryError(
            "activations are the same at every token",
            where="base, tuned or their difference",
            fix="use more text; models that are equal have no difference to learn",
        )
    return Normal(mean.float(), (x_NMD.shape[-1] ** 0.5 / norm).float())


class Coder(nn.Module):
    """Trainable weights, in normalised units."""

    def __init__(self, config: DictionaryConfig, models: int, width: int) -> None:
        """Decoders are the same random directions in every stream, and the encoder's but for their norm."""
        super().__init__()
        generator = torch.Generator().manual_seed(config.seed)
        rows = torch.randn(config.latents, 1, width, generator=generator)
        rows = (rows / rows.norm(dim=-1, keepdim=True) / models**0.5).repeat(1, models, 1)
        self.encoder_FMD = nn.Parameter(rows.clone() * (PLAIN_NORM if config.plain else ENCODER_NORM))
        self.decoder_FMD = nn.Parameter(rows.clone() * (PLAIN_NORM if config.plain else DECODER_NORM))
        self.bias_F = nn.Parameter(torch.zeros(config.latents))
        self.bias_MD = nn.Parameter(torch.zeros(models, width))
        learnt = torch.zeros(config.latents if config.activation == "jumprelu" else 0)
        self.log_threshold_F = nn.Parameter(learnt) if len(learnt) else None
        self.mean_MD: Tensor
        self.register_buffer("mean_MD", torch.zeros(models, width))
        self.scale_M: Tensor
        self.register_buffer("scale_M", torch.ones(models))
        self.theta: Tensor
        self.register_buffer("theta", torch.zeros(()))
        self.penalty_F: Tensor
        penalty = torch.ones(config.latents)
        penalty[: config.shared] = config.shared_penalty
        self.register_buffer("penalty_F", penalty, persistent=False)
        if config.shared:
            decoder: Any = self.decoder_FMD  # torch has no types for register_hook
            decoder.register_hook(_tied(config.shared))

    @torch.no_grad()
    def calibrate(self, x_NMD: Float[Tensor, "N M D"]) -> None:
        """Takes mean and scale of the activations over, see `centre_and_scale`."""
        mean_MD, scale_M = centre_and_scale(x_NMD)
        self.mean_MD.copy_(mean_MD)
        self.scale_M.copy_(scale_M)

    @torch.no_grad()
    def start_thresholds(self, x_NMD: Float[Tensor, "N M D"], k: int) -> None:
        """Sets learnt thresholds so that k latents are active per token on average, if there are any."""
        if self.log_threshold_F is not None:
            encoder, bias, _ = self.flat()
            kept = sk.encode_batchtopk(self.normalise(x_NMD).flatten(1), encoder.T, bias, k * len(x_NMD))
            self.log_threshold_F.fill_(kept.least.clamp(min=TINY).log() / HASTE)

    @property
    def threshold_F(self) -> Float[Tensor, " F"]:
        """What a code has to exceed, in units of training: learnt, or by the smallest score that was kept."""
        if self.log_threshold_F is not None:
            return (HASTE * self.log_threshold_F).exp()
        return self.theta * self.penalty_F / self.weight_F.clamp(min=TINY)

    def normalise(self, x_NMD: Float[Tensor, "N M D"]) -> Float[Tensor, "N M D"]:
        """Activations in the units of training."""
        return (x_NMD - self.mean_MD) * self.scale_M[:, None]

    @torch.no_grad()
    def learn_threshold(self, least: Float[Tensor, ""], rate: float) -> None:
        """Lets the inference threshold follow the smallest kept score (Minder et al. 2025).

        Args:
            least: infinite if nothing was kept.
            rate: how far it goes towards it; the first time it goes all the way.
        """
        followed = torch.where(self.theta == 0, least, self.theta.lerp(least, rate))
        self.theta.copy_(torch.where(torch.isfinite(least), followed, self.theta))

    @property
    def weight_F(self) -> Float[Tensor, " F"]:
        """Sum of decoder norms over the streams: times a code it is the latent's size (Lindsey 2024)."""
        norms: Tensor = self.decoder_FMD.norm(dim=-1).sum(1)
        return norms

    def flat(self) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder [F, C], its bias [F] and decoder [F, C] with the streams side by side, C = M * D."""
        return self.encoder_FMD.flatten(1), self.bias_F, self.decoder_FMD.flatten(1)

    @torch.no_grad()
    def folded(self) -> Weights:
        """The same function in raw units, with each latent's larger decoder norm made 1.

        f = W s (x - c) + b and x = sum_j f_j d_j / s + bias / s + c; the threshold on a code times its sum of
        norms becomes one on the code itself.
        """
        scale = self.scale_M[:, None]
        decoder = self.decoder_FMD / scale
        longest = decoder.norm(dim=-1).amax(1).clamp(min=TINY)
        encoder = self.encoder_FMD * scale * longest[:, None, None]
        return Weights(
            encoder,
            bias_F=self.bias_F * longest - (encoder * self.mean_MD).sum((1, 2)),
            threshold_F=self.threshold_F * longest,
            decoder_FMD=decoder / longest[:, None, None],
            bias_MD=self.bias_MD / scale + self.mean_MD,
        )


def _tied(shared: int) -> Callable[[Tensor], Tensor]:
    """Gives the rows of shared latents one gradient for all streams, so that they stay equal."""

    def tie(gradient: Tensor) -> Tensor:
        tied = gradient.clone()
        tied[:shared] = gradient[:shared].sum(1, keepdim=True)
        return tied

    return tie
