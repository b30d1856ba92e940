"""SAEs of SAELens whose encoder is none of ours (gated, matching pursuit, ...): SAELens encodes, densely."""

from __future__ import annotations

from typing import Any

import sae_kernels as sk
import torch
from jaxtyping import Float
from torch import Tensor

from sae.dictionaries.shared import SharedSAE
from sae.dictionaries.weights import Weights
from sae.errors import DictionaryError

PROBED = 4
"""Latents whose decoding is compared with their decoder row."""


class ForeignSAE(SharedSAE):
    """A `sae_lens.SAE` behind the interface of ours.

    Raises:
        DictionaryError: its decoder is not linear in raw activations (normalised at run time), so that its
            rows would not be directions of the residual stream.
    """

    def __init__(self, sae: Any, notes: dict[str, Any] | None = None) -> None:
        """Takes over a `sae_lens.SAE`, frozen.

        Args:
            sae: an inference SAE.
            notes: JSON about where it comes from.
        """
        normal = sae.cfg.normalize_activations
        if normal != "none":
            raise _not_linear(f"it normalises activations at run time ({normal})")
        rows = sae.W_dec.detach().float()
        if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
            rows = rows / rows.norm(dim=-1, keepdim=True)
        nothing = rows.new_zeros(len(rows))
        # The encoder's place is filled, and never read: `sparse_code` and `dense_code` ask SAELens.
        super().__init__(
            Weights(rows[:, None], nothing, nothing, rows[:, None], sae.b_dec[None]), notes=notes
        )
        self.sae: Any = sae.eval().requires_grad_(False)
        self._check_linear()

    @property
    def hook_name(self) -> str | None:
        """Where the activations were read that it was trained on, if its notes or SAELens's metadata say."""
        name = self.notes.get("hook_name") or getattr(self.sae.cfg.metadata, "hook_name", None)
        return None if name is None else str(name)

    def dense_code(self, x_NC: Float[Tensor, "N C"]) -> Float[Tensor, "N F"]:
        """SAELens's codes."""
        codes: Tensor = self.sae.encode(x_NC.to(self.sae.dtype))
        return codes.float()

    @torch.no_grad()
    def sparse_code(self, x_NC: Float[Tensor, "N C"]) -> sk.Encoded:
        """The same, without the zeros."""
        codes = self.dense_code(x_NC)
        most = max(1, int((codes != 0).sum(1).max()) if len(codes) else 0)
        values, indices = codes.topk(most, dim=1)
        live = values > 0
        values, indices = torch.where(live, values, 0), torch.where(live, indices, -1)
        return sk.Encoded(values, indices, torch.zeros((), dtype=torch.int32, device=values.device))

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
