from __future__ import annotations

import torch
from torch import Tensor

from sae.features.recurrence import ROTATION_BAR, matches, recurrence, rotation_bar


def rows(count: int = 30, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 2, 64, generator=draw), dim=-1)


def test_a_shuffled_copy_is_matched_one_to_one() -> None:
    first, order = rows(), torch.randperm(30, generator=torch.Generator().manual_seed(1))
    found = matches(first, 3 * first[order])
    assert order[found.partner_F].tolist() == list(range(30))
    torch.testing.assert_close(found.cosine_F, torch.ones(30))


def test_two_copies_of_one_latent_have_one_partner() -> None:
    first = rows(4)
    found = matches(first[[0, 0, 1]], first[[0, 1]])
    assert sorted(found.partner_F.tolist()) == [-1, 0, 1]


def test_a_partner_has_to_agree_in_both_models() -> None:
    first, other = rows(), rows()
    other[5, 1] = rows(1, seed=9)[0, 1]
    other[6, 0] = 0
    share = recurrence([matches(first, other), matches(first, first)])
    assert share is not None
    assert share[5] == 0.5
    assert share[6] == 0.5  # it has lost a material row
    assert share[7] == 1


def test_an_immaterial_side_is_not_asked() -> None:
    first, other = rows(), rows()
    first[3, 0] *= 0.1
    other[3, 0] = -0.1 * other[3, 0]
    assert matches(first, other).cosine_F[3] > 0.99


def test_rows_of_norm_0_have_no_partner() -> None:
    first = rows()
    first[2] = 0
    found = matches(first, rows())
    assert found.partner_F[2] == -1
    assert found.cosine_F[2].isnan()


def test_without_other_seeds_there_is_no_recurrence() -> None:
    assert recurrence([]) is None
    assert rotation_bar(rows(), [], torch.ones(30, dtype=torch.bool)) == ROTATION_BAR


def test_the_bar_falls_where_directions_come_back_badly() -> None:
    first, alive = rows(400), torch.ones(400, dtype=torch.bool)
    assert rotation_bar(first, [first], alive) == ROTATION_BAR
    noisy = first + 0.12 * torch.randn(first.shape, generator=torch.Generator().manual_seed(3))
    cosine = matches(first, noisy).cosine_F
    bar = rotation_bar(first, [noisy], alive)
    assert bar <= ROTATION_BAR
    assert cosine.median() < 0.8
