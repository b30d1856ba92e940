"""Codes with few entries: which to keep, and an autoencoder pass that only touches those.

Shapes: N tokens, F latents, C = M * D (all streams side by side), K kept entries.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag


class Kept(NamedTuple):
    """Places of the kept entries of an [N, F] matrix of codes, in row-major order."""

    row_K: Int[Tensor, " K"]
    column_K: Int[Tensor, " K"]


class Autoencoded(NamedTuple):
    """Both ends of an autoencoder pass."""

    codes_K: Float[Tensor, " K"]
    """Codes >= 0 at the kept places."""
    decoded_NC: Float[Tensor, "N C"]


def largest(score_NF: Float[Tensor, "N F"], count: int) -> Kept:
    """The `count` largest entries of the whole matrix (BatchTopK, Bussmann et al. 2024).

    Always `count` of them, so that a GPU need not tell the host how many: some may be zero where few
    entries are positive.
    """
    place = torch.topk(score_NF.flatten(), min(count, score_NF.numel()), sorted=False).indices.sort().values
    width = score_NF.shape[1]
    return Kept(place.div(width, rounding_mode="floor"), place.remainder(width))


def autoencode_dense(
    x_NC: Float[Tensor, "N C"],
    encoder_FC: Float[Tensor, "F C"],
    bias_F: Float[Tensor, " F"],
    decoder_FC: Float[Tensor, "F C"],
    kept: Kept,
) -> Autoencoded:
    """ReLU codes at the kept places and what is decoded from them, by dense products: the plain twin."""
    pre = x_NC @ encoder_FC.T + bias_F
    mask = torch.zeros_like(pre)
    mask[kept] = 1
    codes = pre.relu() * mask
    return Autoencoded(codes[kept], codes @ decoder_FC)


def autoencode_sparse(
    x_NC: Float[Tensor, "N C"],
    encoder_FC: Float[Tensor, "F C"],
    bias_F: Float[Tensor, " F"],
    decoder_FC: Float[Tensor, "F C"],
    kept: Kept,
    codes_K: Float[Tensor, " K"],
) -> Autoencoded:
    """As `autoencode_dense`, with no product larger than the kept entries.

    `codes_K` are the ReLU codes at the kept places, computed without gradient when these were chosen.
    """
    apply: Any = _Autoencode.apply  # torch has no types for it
    return Autoencoded(*apply(x_NC, encoder_FC, bias_F, decoder_FC, *kept, codes_K))


class _Autoencode(torch.autograd.Function):
    """codes = relu(x W^T + b)[kept]; decoded = sparse(codes) D, with gradients for W, b and D."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, b: Tensor, d: Tensor, row: Tensor, column: Tensor, codes: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, d, row, column, codes)
        return codes.clone(), _rows_times(codes, row, column, d, len(x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_codes: Tensor, to_decoded: Tensor) -> tuple[Tensor | None, ...]:
        x, d, row, column, codes = ctx.saved_tensors
        inner = (to_codes + _dots(to_decoded, d, row, column)) * (codes > 0)
        # The transposed matrix in row-major order: its rows are latents.
        order = torch.argsort(column, stable=True)
        row, column, codes, inner = row[order], column[order], codes[order], inner[order]
        to_d = _rows_times(codes, column, row, to_decoded, len(d))
        to_w = _rows_times(inner, column, row, x, len(d))
        to_b = torch.zeros_like(d[:, 0]).index_add_(0, column, inner)
        return None, to_w, to_b, to_d, None, None, None


def _starts(row: Tensor, rows: int) -> Tensor:
    ends = torch.bincount(row, minlength=rows).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends])


def _rows_times(values: Tensor, row: Tensor, column: Tensor, dense: Tensor, rows: int) -> Tensor:
    """A sparse matrix (entries in row-major order) times a dense one."""
    return embedding_bag(column, dense, _starts(row, rows)[:-1], mode="sum", per_sample_weights=values)


def _dots(a_NC: Tensor, b_FC: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Inner products of rows of `a` and `b` at given places: a sampled dense-dense product."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        zeros = torch.sparse_csr_tensor(
            _starts(row, len(a_NC)),
            column,
            a_NC.new_zeros(len(column)),
            (len(a_NC), len(b_FC)),
            check_invariants=False,
        )
        dots: Tensor = torch.sparse.sampled_addmm(zeros, a_NC.contiguous(), b_FC.T).values()
    return dots
