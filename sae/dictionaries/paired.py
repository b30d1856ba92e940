"""Dictionaries of a pair as they are used: encode, decode, reconstruct, all in raw units.

Every one is a JumpReLU coder (Rajamanoharan et al. 2024): f_j = a_j if a_j > t_j and a_j > 0 else 0, with
a = W_enc x + b_enc. They differ in what x is and in what is passed through beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sae.errors import DictionaryError


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
            raise _unfit("decoder_FMD", self.decoder_FMD, "three axes")
        latents, models, width = self.decoder_FMD.shape
        wanted = {
            "encoder_FMD": (latents, models, width),
            "bias_F": (latents,),
            "threshold_F": (latents,),
            "bias_MD": (models, width),
        }
        for name, shape in wanted.items():
            if tuple(getattr(self, name).shape) != shape:
                raise _unfit(name, getattr(self, name), f"shape {shape}")
        for field in fields(self):
            if not bool(torch.isfinite(getattr(self, field.name)).all()):
                raise DictionaryError(
                    "the dictionary has weights that are no finite numbers",
                    where=field.name,
                    fix="train it again with a lower learning rate, or fetch the file again",
                )


class PairedCoder(nn.Module):
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
        super().__init__()
        if weights.decoder_FMD.shape[1] != self.models:
            raise _unfit("decoder_FMD", weights.decoder_FMD, f"{self.models} in its second axis")
        self.notes = dict(notes or {})
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

    def code(self, x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N F"]:
        """The common code of both models, float32."""
        read = self.read(x_NMD.float()).flatten(1)
        pre = read @ self.get_buffer("_encoder_FMD").flatten(1).T + self.get_buffer("_bias_F")
        return torch.where(pre > self.get_buffer("_threshold_F").clamp(min=0), pre, 0)

    def encode(self, x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 F"]:
        """Codes >= 0 in float32; both sides are the same code (a view, nothing is copied)."""
        return self.code(x_NMD)[:, None].expand(-1, 2, -1)

    def decode(self, codes_NMF: Float[Tensor, "N 2 F"]) -> Float[Tensor, "N 2 D"]:
        """What each side's codes say of that side, float32."""
        decoder = self.decoder_FMD
        return torch.stack([codes_NMF[:, m] @ decoder[:, m] for m in range(2)], 1) + self.bias_MD

    def reconstruct(self, x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """Both models' activations as the dictionary has them: what is carried, and what is decoded."""
        decoded = self.code(x_NMD) @ self.get_buffer("_decoder_FMD").flatten(1)
        decoded = decoded.view(-1, self.models, self.width) + self.get_buffer("_bias_MD")
        return self.carried(x_NMD.float()) + self.write(decoded)


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


def _unfit(name: str, tensor: Tensor, wanted: str) -> DictionaryError:
    return DictionaryError(
        f"the dictionary's weights do not fit each other: {tuple(tensor.shape)} instead of {wanted}",
        where=name,
        fix="use the files as they were saved, or train the dictionary again",
    )
