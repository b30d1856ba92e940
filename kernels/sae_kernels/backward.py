"""Gradients of a sparse autoencoder pass from its kept codes alone, all in one pass over the latents.

With f the code of an entry (token n, latent j), g = dL/df = to_codes + <to_decoded_n, W_dec,j>:

    dL/dW_dec,j = sum_n f to_decoded_n        dL/db_j = sum_n g
    dL/dW_enc,j = sum_n g x_n                 (g only where the code is active: `gates`)

No [N, F] matrix, no atomics, no host sync.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from sae_kernels.decode import columns_of, rows_of, starts_of
from sae_kernels.dispatch import runs_kernels
from sae_kernels.library import operation
from sae_kernels.types import Encoded, Gradients, Kept


def backward(
    codes: Encoded | Kept,
    to_decoded: Tensor,
    x: Tensor,
    decoder: Tensor,
    *,
    to_codes: Tensor | None = None,
    gates: Tensor | None = None,
    weights: Tensor | None = None,
    path: str = "auto",
) -> Gradients:
    """Gradients of the weights and codes of x -> codes -> decoded.

    Args:
        codes: what was decoded.
        to_decoded: [N, C]: dL/dx̂.
        x: [N, C']: what the encoder read.
        decoder: [F, C].
        to_codes: shape of the codes: gradient that reaches them by other ways than the decoder.
        gates: likewise: factor of dL/dcode on its way to the encoder; default: 1 where the code is above 0.
        weights: likewise: see `Gradients.gated`.
        path: "auto", "fused" or "plain".
    """
    columns, starts = columns_of(codes), starts_of(codes)
    gates = (codes.values > 0).float() if gates is None else gates
    return Gradients(
        *_backward(codes.values, gates, weights, to_codes, columns, starts, to_decoded, x, decoder, path)
    )


def _run(
    values: Tensor,
    gates: Tensor,
    weights: Tensor | None,
    to_codes: Tensor | None,
    columns: Tensor,
    starts: Tensor | None,
    to_decoded: Tensor,
    x: Tensor,
    decoder: Tensor,
    path: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    rows = rows_of(columns, starts)
    flat = [None if part is None else part.reshape(-1).float() for part in (values, gates, weights, to_codes)]
    inputs: Any = (*flat, columns.reshape(-1), rows, to_decoded, x, decoder)
    if runs_kernels(x, path) and len(rows):
        from sae_kernels.device.features import feature_gradients

        found = feature_gradients(*inputs)
    else:
        found = _by_bags(*inputs)
    return found.decoder, found.encoder, found.bias, found.codes.view(values.shape), found.gated


def _fake(
    values: Tensor,
    gates: Tensor,
    weights: Tensor | None,
    to_codes: Tensor | None,
    columns: Tensor,
    starts: Tensor | None,
    to_decoded: Tensor,
    x: Tensor,
    decoder: Tensor,
    path: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    latents = len(decoder)

    def made(*shape: int) -> Tensor:
        return x.new_empty(shape, dtype=torch.float32)

    decoded, encoded = made(latents, decoder.shape[1]), made(latents, x.shape[1])
    return decoded, encoded, made(latents), made(*values.shape), made(latents)


_backward = operation("backward", _run, _fake)


def backward_plain(
    codes: Encoded | Kept,
    to_decoded: Tensor,
    x: Tensor,
    decoder: Tensor,
    *,
    to_codes: Tensor | None = None,
    gates: Tensor | None = None,
    weights: Tensor | None = None,
) -> Gradients:
    """The plain twin of `backward`: dense matrices [N, F]."""
    columns, values = columns_of(codes).reshape(-1), codes.values.reshape(-1)
    there = columns >= 0
    place = (rows_of(columns_of(codes), starts_of(codes))[there], columns[there])
    to_decoded, x, decoder = to_decoded.float(), x.float(), decoder.float()
    dense = to_decoded.new_zeros(len(x), len(decoder))
    gates = (values > 0).float() if gates is None else gates.reshape(-1)
    inner = (to_decoded @ decoder.T)[place]
    inner = inner if to_codes is None else inner + to_codes.reshape(-1)[there]
    gated = dense.index_put(place, inner * gates[there])
    weighted = dense if weights is None else dense.index_put(place, inner * weights.reshape(-1)[there])
    kept = dense.index_put(place, values[there])
    out = torch.zeros_like(values).masked_scatter(there, inner).view(codes.values.shape)
    return Gradients(kept.T @ to_decoded, gated.T @ x, gated.sum(0), out, weighted.sum(0))


def _by_bags(
    values: Tensor,
    gates: Tensor,
    weights: Tensor | None,
    to_codes: Tensor | None,
    columns: Tensor,
    rows: Tensor,
    to_decoded: Tensor,
    x: Tensor,
    decoder: Tensor,
) -> Gradients:
    """With torch alone: entries sorted by latent, and embedding bags over tokens."""
    latents = len(decoder)
    to_decoded, x, decoder = to_decoded.float(), x.float(), decoder.float()
    there = (columns >= 0).nonzero()[:, 0]
    columns, rows = columns[there], rows[there]
    inner = _dots(to_decoded, decoder, rows, columns)
    inner = inner if to_codes is None else inner + to_codes[there]
    order = torch.argsort(columns, stable=True)
    sorted_columns, sorted_rows = columns[order], rows[order]
    ends = torch.bincount(sorted_columns, minlength=latents).cumsum(0)
    offsets = torch.cat([ends.new_zeros(1), ends])[:-1]

    def bags(dense: Tensor, factors: Tensor) -> Tensor:
        if not len(there):
            return dense.new_zeros(latents, dense.shape[1])
        return embedding_bag(
            sorted_rows, dense, offsets, mode="sum", per_sample_weights=factors[order].contiguous()
        )

    def sums(factors: Tensor) -> Tensor:
        return dense_zeros.index_add(0, columns, factors)

    dense_zeros = to_decoded.new_zeros(latents)
    gated = inner * gates[there]
    out = torch.zeros_like(values).index_copy(0, there, inner)
    weighted = dense_zeros if weights is None else sums(inner * weights[there])
    return Gradients(bags(to_decoded, values[there]), bags(x, gated), sums(gated), out, weighted)


def _dots(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Inner products of rows of `a` and `b` at given places: a sampled dense-dense product."""
    if not len(rows):
        return a.new_zeros(0)
    counts = torch.bincount(rows, minlength=len(a)).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
        zeros = torch.sparse_csr_tensor(
            torch.cat([counts.new_zeros(1), counts]),
            columns,
            a.new_zeros(len(columns)),
            (len(a), len(b)),
            check_invariants=False,
        )
        dots: Tensor = torch.sparse.sampled_addmm(zeros, a.contiguous(), b.T).values()
    return dots
