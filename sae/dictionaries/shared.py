"""One single-model SAE read on both models: the same latents, with a code of its own for each side."""

from __future__ import annotations

from typing import Any, ClassVar

import sae_kernels as sk
import torch
from jaxtyping import Float
from torch import Tensor

from sae.dictionaries.weights import SparseCodes, WeightedCoder, Weights, encoded, trimmed, unfit


class SharedSAE(WeightedCoder):
    """An SAE (ReLU, TopK, JumpReLU, BatchTopK) of one residual stream that reads base and tuned model alike.

    The two sides' decoder rows are equal, so their norms say nothing: what differs is when and how strongly
    a latent fires in each model.
    """

    joint: ClassVar[bool] = False

    def __init__(self, weights: Weights, k: int | None = None, notes: dict[str, Any] | None = None) -> None:
        """Takes the weights over.

        Args:
            weights: of one stream, in raw units.
            k: as in `WeightedCoder`.
            notes: JSON about where it comes from.

        Raises:
            DictionaryError: the weights are of several streams.
        """
        if weights.decoder_FMD.shape[1] != 1:
            raise unfit("decoder_FMD", weights.decoder_FMD, "1 in its second axis")
        super().__init__(weights, k, notes)

    @property
    def rows_FD(self) -> Float[Tensor, "F D"]:
        """The decoder rows."""
        return self.get_buffer("_decoder_FMD")[:, 0]

    @property
    def decoder_FMD(self) -> Float[Tensor, "F 2 D"]:
        """The decoder rows, twice."""
        return self.get_buffer("_decoder_FMD").expand(-1, 2, -1)

    @property
    def bias_MD(self) -> Float[Tensor, "2 D"]:
        """The decoder bias, twice."""
        return self.get_buffer("_bias_MD").expand(2, -1)

    @staticmethod
    def carried(x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """Nothing: each stream is explained whole."""
        return torch.zeros_like(x_NMD)

    @staticmethod
    def write(decoded_NMD: Float[Tensor, "N 1 D"]) -> Float[Tensor, "N 2 D"]:
        """The same for both models."""
        return decoded_NMD.expand(-1, 2, -1)

    def encode(self, x: Float[Tensor, "*any D"]) -> Float[Tensor, "*any F"]:
        """Codes >= 0 of any activations, each model's own for [N, 2, D]; float32."""
        return self.dense_code(x.float().flatten(0, -2)).view(*x.shape[:-1], -1)

    def encode_sparse(self, x: Float[Tensor, "*any D"]) -> SparseCodes:
        """The same as [..., K] indices and values, without gradients."""
        found = trimmed(self.sparse_code(x.float().flatten(0, -2)))
        return SparseCodes(*(part.reshape(*x.shape[:-1], part.shape[1]) for part in found))

    def decode(self, codes: Float[Tensor, "*any F"]) -> Float[Tensor, "*any D"]:
        """Reconstructions, float32."""
        return codes @ self.rows_FD + self.get_buffer("_bias_MD")[0]

    def decode_sparse(self, codes: SparseCodes) -> Float[Tensor, "*any D"]:
        """The same of sparse codes."""
        flat = SparseCodes(*(part.flatten(0, -2) for part in codes))
        decoded = sk.decode(encoded(flat), self.rows_FD, self.get_buffer("_bias_MD")[0])
        return decoded.view(*codes.indices.shape[:-1], self.width)

    def reconstruct(self, x: Float[Tensor, "*any D"]) -> Float[Tensor, "*any D"]:
        """Activations as the SAE has them; dense, with gradients, where `x` asks for them."""
        if torch.is_grad_enabled() and x.requires_grad:
            return self.decode(self.encode(x))
        return self.decode_sparse(self.encode_sparse(x))
