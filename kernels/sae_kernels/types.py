"""What the operations return, and the forms in which they take activations and weights.

Shapes: N tokens, C width of the input (all streams of a crosscoder together), F latents, K kept entries per
token, E kept entries in all.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

Streams = Tensor | tuple[Tensor, Tensor]
"""Activations [N, C], or those of two models [N, D] each; likewise weights [C, F] or [D, F] each."""


class Encoded(NamedTuple):
    """Kept codes of each token.

    Within a token the indices ascend; where fewer than K latents are active the rest is (0, -1), at the end.
    """

    values: Tensor
    """float32 [N, K]."""
    indices: Tensor
    """int64 [N, K]."""
    repairs: Tensor
    """int32 []: tokens whose candidates could not be certified and that were computed again; see README."""

    def dense(self, latents: int) -> Tensor:
        """The same codes as [N, F], for whoever needs them so."""
        codes = self.values.new_zeros(len(self.values), latents)
        return codes.scatter_add_(1, self.indices.clamp(min=0), self.values)

    @property
    def full(self) -> Tensor:
        """int64 []: tokens with no slot left; where K is a capacity, these may have had more latents."""
        return (self.indices[:, -1] >= 0).sum()


class Kept(NamedTuple):
    """Kept entries of a whole batch (BatchTopK): by token, and within a token by latent.

    Where fewer than E entries are active the rest is (0, -1, -1), at the end.
    """

    values: Tensor
    """float32 [E]."""
    rows: Tensor
    """int64 [E]."""
    columns: Tensor
    """int64 [E]."""
    starts: Tensor
    """int64 [N + 1]: the entries of token n are starts[n] to starts[n + 1]."""
    least: Tensor
    """float32 []: smallest kept score, for the inference threshold; infinite if nothing was kept."""
    repairs: Tensor
    """int32 []: as in `Encoded`."""
    overflow: Tensor
    """int32 []: tokens of which more codes might have to be kept: the choice is exact where it is 0."""

    def dense(self, latents: int) -> Tensor:
        """The same codes as [N, F], for whoever needs them so."""
        codes = self.values.new_zeros((len(self.starts) - 1) * latents)
        place = (self.rows * latents + self.columns).clamp(min=0)
        return codes.index_add_(0, place, self.values).view(-1, latents)


class Gradients(NamedTuple):
    """What the feature-major pass gives; rows of features that no token kept are zero."""

    decoder: Tensor
    """[F, C]: dL/dW_dec."""
    encoder: Tensor
    """[F, C]: dL/dW_enc, one row per latent."""
    bias: Tensor
    """float32 [F]: dL/db_enc."""
    codes: Tensor
    """float32, shape of the codes: dL/dcode, not yet masked by which codes are active."""
    gated: Tensor
    """float32 [F]: sum over a latent's entries of dL/dcode times the weight given; zeros if none was."""


def zero(device: torch.device) -> Tensor:
    """A counter that nothing was added to."""
    return torch.zeros((), dtype=torch.int32, device=device)
