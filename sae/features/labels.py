"""Shuffled labels: is a latent's asymmetry between the models larger than labels swapped by document make?

Under the null the labels of the two models are exchangeable within each document, so that D, a document's
contribution to the asymmetry, has a random sign. Sums per document are gathered as the stream passes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Swaps(NamedTuple):
    """Sums over documents of their contributions D to the asymmetry, and of D squared."""

    sum_FP: Float[Tensor, "F 2"]
    square_FP: Float[Tensor, "F 2"]
    documents: int


class DocumentSums:
    """Contributions of the open documents; a document is closed when the stream is past it."""

    def __init__(self, latents: int, device: torch.device) -> None:
        self._shape = (latents, 2)
        self._zeros = torch.zeros(*self._shape, dtype=torch.float64, device=device)
        self._sum, self._square = self._zeros.clone(), self._zeros.clone()
        self._numbers: Tensor = torch.empty(0, dtype=torch.long, device=device)
        self._open: Tensor = self._zeros[None][:0]
        self._closed = 0

    def open(self, document_N: Int[Tensor, " N"]) -> None:
        """Makes room for a piece's documents and closes those that it has left behind."""
        numbers = torch.unique(document_N)
        if not len(numbers):
            return
        still = torch.isin(self._numbers, numbers)
        self._close(self._open[~still])
        kept = {int(number): row for number, row in zip(self._numbers[still], self._open[still], strict=True)}
        self._numbers = numbers
        self._open = torch.stack([kept.get(int(number), self._zeros) for number in numbers])

    def add(
        self, document_P: Int[Tensor, " P"], latent_P: Int[Tensor, " P"], value_Pp: Float[Tensor, "P 2"]
    ) -> None:
        """Adds contributions of open documents."""
        place = torch.searchsorted(self._numbers, document_P) * self._shape[0] + latent_P
        self._open.view(-1, 2).index_add_(0, place, value_Pp)

    def close(self) -> Swaps:
        """The sums, with every document closed."""
        self._close(self._open)
        self._open = self._open[:0]
        self._numbers = self._numbers[:0]
        return Swaps(self._sum, self._square, self._closed)

    def _close(self, rows: Float[Tensor, "K F 2"]) -> None:
        self._sum += rows.sum(0)
        self._square += rows.square().sum(0)
        self._closed += len(rows)


def label_p_values(
    sum_FP: Float[Tensor, "F 2"], square_FP: Float[Tensor, "F 2"], trusted_FP: Tensor
) -> Float[Tensor, " F"]:
    """Bound on the p-value of the sign-flip test of sum D over documents, valid for any number of them.

    Hoeffding's inequality for Rademacher sums: P(|sum s_i D_i| >= t) <= 2 exp(-t^2 / (2 sum D_i^2)), with no
    draws to be made (Hoeffding 1963, theorem 2). The smaller of the trusted probes' values counts, times
    their number (Bonferroni); without a trusted probe p is 1.
    """
    z2 = sum_FP.square() / square_FP.clamp(min=torch.finfo(torch.float64).tiny)
    p = (2 * torch.exp(-z2 / 2)).clamp(max=1)
    p = torch.where(trusted_FP & (square_FP > 0), p, 1.0)
    return (p.amin(1) * trusted_FP.sum(1).clamp(min=1)).clamp(max=1)
