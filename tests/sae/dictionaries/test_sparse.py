from __future__ import annotations

import pytest
import torch

from sae.dictionaries.sparse import Kept, autoencode_dense, autoencode_sparse, largest


def problem(tokens: int, width: int, latents: int) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    shapes = ((tokens, width), (latents, width), (latents,), (latents, width))
    return [torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_() for shape in shapes]


@pytest.mark.parametrize(
    ("tokens", "width", "latents", "count"), [(7, 5, 11, 20), (1, 3, 2, 1), (6, 4, 3, 18)]
)
def test_the_sparse_pass_equals_its_plain_twin(tokens: int, width: int, latents: int, count: int) -> None:
    x, encoder, bias, decoder = problem(tokens, width, latents)
    codes = (x @ encoder.T + bias).relu().detach()
    kept = largest(codes, count)
    target = torch.randn(tokens, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for out in (
        autoencode_dense(x, encoder, bias, decoder, kept),
        autoencode_sparse(x, encoder, bias, decoder, kept, codes[kept]),
    ):
        loss = (out.decoded_NC - target).square().sum() + (out.codes_K * 0.3).sum()
        gradients = torch.autograd.grad(loss, (encoder, bias, decoder))
        found.append([out.codes_K, out.decoded_NC, *gradients])
    for dense, sparse in zip(*found, strict=True):
        torch.testing.assert_close(dense, sparse)


def test_batchtopk_keeps_the_largest_of_the_whole_batch_in_row_major_order() -> None:
    score = torch.tensor([[5.0, 0.0, 4.0], [0.0, 0.0, 1.0], [3.0, 2.0, 6.0]])
    kept = largest(score, 4)
    assert kept.row_K.tolist() == [0, 0, 2, 2]
    assert kept.column_K.tolist() == [0, 2, 0, 2]
    assert len(largest(score, 99).row_K) == 9, "no more than there are"


def test_kept_places_without_a_code_give_nothing() -> None:
    x, encoder, bias, decoder = problem(2, 3, 4)
    kept = Kept(torch.tensor([0, 1]), torch.tensor([1, 2]))
    out = autoencode_sparse(x, encoder, bias, decoder, kept, torch.zeros(2, dtype=torch.float64))
    assert not out.decoded_NC.any()
    gradients = torch.autograd.grad(out.decoded_NC.sum(), (encoder, bias, decoder))
    assert not any(gradient.any() for gradient in gradients)
