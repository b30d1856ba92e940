from __future__ import annotations

import torch

from sae.features.labels import DocumentSums, label_p_values


def test_the_bound_is_never_below_the_sign_flip_test_itself() -> None:
    draw = torch.Generator().manual_seed(0)
    contributions = torch.randn(12, 30, generator=draw).double() + 0.7 * torch.rand(30, generator=draw)
    signs = torch.tensor([[1 - 2 * ((n >> d) & 1) for d in range(12)] for n in range(4096)]).double()
    flipped = (signs @ contributions).abs()
    exact = (flipped >= contributions.sum(0).abs() - 1e-9).double().mean(0)
    total, square = contributions.sum(0)[:, None], contributions.square().sum(0)[:, None]
    trusted = torch.tensor([True, False]).expand(30, 2)
    p = label_p_values(total.expand(-1, 2), square.expand(-1, 2), trusted)
    assert (p >= exact - 1e-12).all()
    assert (p[exact < 0.001] < 0.05).all()


def test_a_document_in_two_pieces_counts_once() -> None:
    sums = DocumentSums(2, torch.device("cpu"))
    for documents, value in (([3, 3, 7], 1.0), ([7, 9], 2.0)):
        number = torch.tensor(documents)
        sums.open(number)
        latent = torch.zeros(len(documents), dtype=torch.long)
        sums.add(number, latent, torch.full((len(documents), 2), value, dtype=torch.float64))
    found = sums.close()
    assert found.documents == 3
    assert found.sum_FP.tolist() == [[7.0, 7.0], [0.0, 0.0]]
    assert found.square_FP.tolist() == [[4.0 + 9.0 + 4.0] * 2, [0.0, 0.0]]


def test_without_a_trusted_probe_or_a_document_nothing_is_rejected() -> None:
    total = torch.tensor([[9.0, 9.0], [0.0, 0.0]], dtype=torch.float64)
    trusted = torch.tensor([[False, False], [True, True]])
    assert label_p_values(total, torch.ones(2, 2, dtype=torch.float64), trusted)[0] == 1
    assert label_p_values(total, torch.zeros(2, 2, dtype=torch.float64), trusted)[1] == 1
