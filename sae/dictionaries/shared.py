"""One single-model SAE read on both models: the same latents, with a code of its own for each side."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sae.errors import DictionaryError

PROBED = 4
"""Latents whose decoding is compared with their decoder row."""


class SharedSAE(nn.Module):
    """An SAE of SAELens (TopK, JumpReLU, standard, ...) that reads base and tuned model alike.

    The two sides' decoder rows are equal, so their norms say nothing: what differs is when and how strongly
    a latent fires in each model.

    Raises:
        DictionaryError: its decoder is not linear in raw activations (normalised at run time), so that its
            rows would not be directions of the residual stream.
    """

    joint: ClassVar[bool] = False

    def __init__(self, sae: Any, notes: dict[str, Any] | None = None) -> None:
        """Takes over a `sae_lens.SAE`, frozen.

        Args:
            sae: an inference SAE.
            notes: JSON about where it comes from.
        """
        super().__init__()
        self.sae: Any = sae.eval().requires_grad_(False)
        self.notes = dict(notes or {})
        normal = sae.cfg.normalize_activations
        if normal != "none":
            raise _not_linear(f"it normalises activations at run time ({normal})")
        rows = sae.W_dec.detach().float()
        if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
            rows = rows / rows.norm(dim=-1, keepdim=True)
        self.rows_FD: Tensor
        self.register_buffer("rows_FD", rows, persistent=False)
        self._check_linear()

    @property
    def hook_name(self) -> str | None:
        """Where the activations were read that it was trained on, if its notes or SAELens's metadata say."""
        name = self.notes.get("hook_name") or getattr(self.sae.cfg.metadata, "hook_name", None)
        return None if name is None else str(name)

    @property
    def latents(self) -> int:
        """Width F of the dictionary."""
        return len(self.rows_FD)

    @property
    def width(self) -> int:
        """Width D of the residual stream."""
        return int(self.rows_FD.shape[1])

    @property
    def decoder_FMD(self) -> Float[Tensor, "F 2 D"]:
        """The SAE's decoder rows, twice."""
        return self.rows_FD[:, None].expand(-1, 2, -1)

    @property
    def bias_MD(self) -> Float[Tensor, "2 D"]:
        """The SAE's decoder bias, twice."""
        bias: Tensor = self.sae.b_dec.float()
        return bias.expand(2, -1)

    @staticmethod
    def carried(x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """Nothing: each stream is explained whole."""
        return torch.zeros_like(x_NMD)

    def encode(self, x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 F"]:
        """Each model's codes >= 0, float32."""
        codes: Tensor = self.sae.encode(x_NMD.flatten(0, 1).to(self.sae.dtype))
        return codes.float().view(len(x_NMD), 2, -1)

    def decode(self, codes_NMF: Float[Tensor, "N 2 F"]) -> Float[Tensor, "N 2 D"]:
        """Each model's reconstruction, float32."""
        return codes_NMF @ self.rows_FD + self.bias_MD

    def reconstruct(self, x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 D"]:
        """Both models' activations as the SAE has them."""
        return self.decode(self.encode(x_NMD))

    def _check_linear(self) -> None:
        """Compares SAELens's own decoding of single latents with the rows, which other architectures fail."""
        probes = torch.eye(PROBED, self.latents, dtype=self.sae.dtype, device=self.rows_FD.device)
        with torch.no_grad():
            decoded = (self.sae.decode(probes) - self.sae.b_dec).float()
        here = self.rows_FD[:PROBED]
        if decoded.shape != here.shape or not torch.allclose(decoded, here, rtol=1e-2, atol=1e-4):
            raise _not_linear("decoding one latent does not give its decoder row")


def _not_linear(problem: str) -> DictionaryError:
    return DictionaryError(
        f"this SAE's latents are no directions of the residual stream: {problem}",
        where="cfg.json",
        fix="use an SAE of raw activations (standard, topk, jumprelu), or fold its normalisation first",
    )
