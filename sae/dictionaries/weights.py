"""The weights of every dictionary here, and the codes that they give, dense or sparse.

A dictionary of M streams read together, in raw units: f_j = a_j if a_j > t_j and a_j > 0 else 0, with
a = W_enc x + b_enc (JumpReLU, Rajamanoharan et al. 2024; with t = 0 a ReLU); with a `k` only the k largest of
a token are kept (TopK, Gao et al. 2024).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import sae_kernels as sk
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sae.errors import DictionaryError

CAPACITY = 256
"""Latents of a token that a sparse code has room for at first; it grows until none is left out."""


@dataclass(frozen=True)
class Weights:
    """A coder of M streams read together, in raw units: nothing is normalised at run time.

    Raises:
        DictionaryError: shapes do not fit each other, or a number is not finite.
    """

    encoder_FMD: Float[Tensor, "F M D"]
    bias_F: Float[Tensor, " F"]
    """Bias of the encoder."""
    threshold_F: Float[Tensor, " F"]
    """Pre-activations at or below it give no code."""
    decoder_FMD: Float[Tensor, "F M D"]
    bias_MD: Float[Tensor, "M D"]
    """What is decoded from empty codes."""

    def __post_init__(self) -> None:
        if self.decoder_FMD.ndim != 3:
            raise unfit("decoder_FMD", self.decoder_FMD, "three axes")
        latents, models, width = self.decoder_FMD.shape
        wanted = {
            "encoder_FMD": (latents, models, width),
            "bias_F": (latents,),
            "threshold_F": (latents,),
            "bias_MD": (models, width),
        }
        for name, shape in wanted.items():
            if tuple(getattr(self, name).shape) != shape:
                raise unfit(name, getattr(self, name), f"shape {shape}")
        for field in fields(self):
            if not bool(torch.isfinite(getattr(self, field.name)).all()):
                raise DictionaryError(
                    "the dictionary has weights that are no finite numbers",
                    where=field.name,
                    fix="train it again with a lower learning rate, or fetch the file again",
                )


class SparseCodes(NamedTuple):
    """The latents that have a code; where a token has fewer than K, the rest is (-1, 0), at the end."""

    indices: Int[Tensor, "... K"]
    values: Float[Tensor, "... K"]


class WeightedCoder(nn.Module):
    """Weights, held in float32, and notes on where they come from."""

    def __init__(self, weights: Weights, k: int | None = None, notes: dict[str, Any] | None = None) -> None:
        """Takes the weights over.

        Args:
            weights: in raw units.
            k: latents that a token keeps at most; none: all above their thresholds.
            notes: JSON that is saved beside them: how they were trained, on what.
        """
        super().__init__()
        self.k, self.notes = k, dict(notes or {})
        for field in fields(weights):
            self.register_buffer(f"_{field.name}", getattr(weights, field.name).detach().float().contiguous())

    @property
    def weights(self) -> Weights:
        """What is saved."""
        return Weights(*(self.get_buffer(f"_{field.name}") for field in fields(Weights)))

    @property
    def hook_name(self) -> str | None:
        """Where the activations were read that it was trained on, if its notes say."""
        name = self.notes.get("hook_name")
        return None if name is None else str(name)

    @property
    def latents(self) -> int:
        """Width F of the dictionary."""
        return int(self.get_buffer("_bias_F").shape[0])

    @property
    def width(self) -> int:
        """Width D of each model's residual stream."""
        return int(self.get_buffer("_bias_MD").shape[1])

    def dense_code(self, x_NC: Float[Tensor, "N C"]) -> Float[Tensor, "N F"]:
        """Codes with gradients for the activations."""
        pre = x_NC @ self._encoder_CF + self.get_buffer("_bias_F")
        if self.k is None:
            return torch.where(pre > self.get_buffer("_threshold_F").clamp(min=0), pre, 0)
        top = pre.relu().topk(self.k, dim=1, sorted=False)
        return torch.zeros_like(pre).scatter(1, top.indices, top.values)

    def sparse_code(self, x_NC: Float[Tensor, "N C"]) -> sk.Encoded:
        """The same codes without the dense matrix in a device's memory; no gradients."""
        bias, threshold = self.get_buffer("_bias_F"), self.get_buffer("_threshold_F")
        if self.k is not None:
            return sk.encode_topk(x_NC, self._encoder_CF, bias, self.k)
        capacity = min(CAPACITY, self.latents)
        found = sk.encode_threshold(x_NC, self._encoder_CF, bias, threshold, capacity)
        while capacity < self.latents and bool(found.full):
            capacity = min(4 * capacity, self.latents)
            found = sk.encode_threshold(x_NC, self._encoder_CF, bias, threshold, capacity)
        return found

    @property
    def _encoder_CF(self) -> Tensor:
        return self.get_buffer("_encoder_FMD").flatten(1).T


def trimmed(codes: sk.Encoded) -> SparseCodes:
    """Codes without the slots that no token needs."""
    most = int((codes.indices >= 0).sum(1).max()) if len(codes.indices) else 0
    return SparseCodes(codes.indices[:, :most], codes.values[:, :most])


def encoded(codes: SparseCodes) -> sk.Encoded:
    """Codes of [N, K] as the kernels take them."""
    none = torch.zeros((), dtype=torch.int32, device=codes.values.device)
    return sk.Encoded(codes.values, codes.indices, none)


def unfit(name: str, tensor: Tensor, wanted: str) -> DictionaryError:
    """The error of weights whose shapes disagree."""
    return DictionaryError(
        f"the dictionary's weights do not fit each other: {tuple(tensor.shape)} instead of {wanted}",
        where=name,
        fix="use the files as they were saved, or train the dictionary again",
    )
