"""Dictionaries of a pair as they are used: encode, decode, reconstruct, all in raw units.

Both are coders of weights.py. They differ in what x is and in what is passed through beside them.
"""

from __future__ import annotations

from typing import Any, ClassVar

import sae_kernels as sk
import torch
from jaxtyping import Float
from torch import Tensor

from sae.dictionaries.weights import SparseCodes, WeightedCoder, Weights, encoded, trimmed, unfit


class PairedCoder(WeightedCoder):
    """A dictionary of a pair of models whose code is common to both; see the subclasses."""

    architecture: ClassVar[str]
    """Its name in cfg.json and in SAELens's registry."""
    joint: ClassVar[bool] = True
    """Both sides have one code."""
    models: ClassVar[int]
    """Streams that the weights read together."""

    def __init__(self, weights: Weights, notes: dict[str, Any] | None = None) -> None:
        """Takes the weights over.

        Args:
            weights: in raw units, of `models` streams.
            notes: JSON that is saved beside them: how they were trained, on what.

        Raises:
            DictionaryError: the weights are of another number of streams.
        """
        if weights.decoder_FMD.shape[1] != self.models:
            raise unfit("decoder_FMD", weights.decoder_FMD, f"{self.models} in its second axis")
        super().__init__(weights, notes=notes)

    @staticmethod
    def carried(x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """The part of the activations that is passed through and not for the dictionary to explain."""
        raise NotImplementedError

    @staticmethod
    def read(x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N M D"]:
        """The streams that the encoder reads."""
        raise NotImplementedError

    @staticmethod
    def write(decoded_NMD: Float[Tensor, "N M D"]) -> Float[Tensor, "N 2 D"]:
        """What is decoded, put to the models that it belongs to."""
        raise NotImplementedError

    @property
    def decoder_FMD(self) -> Float[Tensor, "F 2 D"]:
        """Decoder row of each latent in each model, in the units of the raw activations."""
        return self.write(self.get_buffer("_decoder_FMD"))

    @property
    def bias_MD(self) -> Float[Tensor, "2 D"]:
        """What is decoded from empty codes."""
        return self.write(self.get_buffer("_bias_MD")[None])[0]

    def encode(self, x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 F"]:
        """Codes >= 0 in float32; both sides are the same code (a view, nothing is copied)."""
        return self.dense_code(self._flat(x_NMD))[:, None].expand(-1, 2, -1)

    def encode_sparse(self, x_NMD: Float[Tensor, "N 2 D"]) -> SparseCodes:
        """The common code of both models as [N, K] indices and values, without gradients."""
        return trimmed(self.sparse_code(self._flat(x_NMD)))

    def decode(self, codes_NMF: Float[Tensor, "N 2 F"]) -> Float[Tensor, "N 2 D"]:
        """What each side's codes say of that side, float32."""
        decoder = self.decoder_FMD
        return torch.stack([codes_NMF[:, m] @ decoder[:, m] for m in range(2)], 1) + self.bias_MD

    def decode_sparse(self, codes: SparseCodes) -> Float[Tensor, "N 2 D"]:
        """The same of codes [N, K]."""
        decoder, bias = self.get_buffer("_decoder_FMD"), self.get_buffer("_bias_MD")
        return self.write(sk.decode(encoded(codes), decoder, bias))

    def reconstruct(self, x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """Both models' activations as the dictionary has them: what is carried, and what is decoded.

        Dense, with gradients, where `x_NMD` asks for them.
        """
        if torch.is_grad_enabled() and x_NMD.requires_grad:
            decoded = self.decode(self.encode(x_NMD))
        else:
            decoded = self.decode_sparse(self.encode_sparse(x_NMD))
        return self.carried(x_NMD.float()) + decoded

    def _flat(self, x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N C"]:
        return self.read(x_NMD.float()).flatten(1)


class Crosscoder(PairedCoder):
    """One code that reads both models and is decoded for each (Lindsey et al. 2024).

    f = JumpReLU(sum_m W_enc^m h^m + b_enc); h^m is reconstructed as sum_j f_j d_j^m + b^m. A latent's larger
    decoder norm is 1 when it was trained here, so its code is the length of its write in that model.
    """

    architecture = "unmask_crosscoder"
    models = 2

    @staticmethod
    def carried(x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """Nothing: the crosscoder explains both streams."""
        return torch.zeros_like(x_NMD)

    @staticmethod
    def read(x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """Both streams."""
        return x_NMD

    @staticmethod
    def write(decoded_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """As decoded."""
        return decoded_NMD


class DifferenceSAE(PairedCoder):
    """An SAE of h^T - h^B, what the tuned model's stream has beyond the base's.

    On the base's side decoder and bias are zero and `decode` gives zeros; on the tuned side `decode` gives
    the difference. `reconstruct` carries the base through: it gives h^B, and h^B plus the decoded difference.
    A latent therefore says nothing of what both models share; its tuned row is a direction of change.
    """

    architecture = "unmask_difference_sae"
    models = 1

    @staticmethod
    def carried(x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """The base's stream, for both sides."""
        return x_NMD[:, :1].expand(-1, 2, -1)

    @staticmethod
    def read(x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 1 D"]:
        """Tuned minus base."""
        return x_NMD[:, 1:] - x_NMD[:, :1]

    @staticmethod
    def write(decoded_NMD: Float[Tensor, "N 1 D"]) -> Float[Tensor, "N 2 D"]:
        """Zero for the base; the decoded difference for the tuned model."""
        return torch.cat([torch.zeros_like(decoded_NMD), decoded_NMD], 1)
