from __future__ import annotations

import torch

from training.advantages import group_advantage


def test_planted_values() -> None:
    found = group_advantage(torch.tensor([0.0, 1.0, 2.0, 5.0, 5.0, 8.0]), 3)
    torch.testing.assert_close(found.std, torch.tensor([1.0, 3.0**0.5]))
    torch.testing.assert_close(found.value[:3], torch.tensor([-1.0, 0.0, 1.0]) / 1.0001)
    torch.testing.assert_close(found.value[3:], torch.tensor([-1.0, -1.0, 2.0]) / (3.0**0.5 + 1e-4))
    assert not found.dead.any()


def test_dead_groups_are_exactly_zero_and_counted() -> None:
    # The float mean of seven times 0.1 is not 0.1.
    found = group_advantage(torch.tensor([0.1] * 7 + [0.0] * 6 + [1.0]), 7)
    assert (found.value[:7] == 0).all()
    assert found.dead.tolist() == [True, False]
    assert found.std[0] == 0
    assert (found.value[7:] != 0).all()


def test_order_inside_a_group_does_not_matter_and_groups_do_not_mix() -> None:
    reward = torch.rand(12, generator=torch.Generator().manual_seed(0))
    order = torch.cat((torch.randperm(6), 6 + torch.randperm(6)))
    whole = group_advantage(reward, 6).value
    torch.testing.assert_close(group_advantage(reward[order], 6).value, whole[order])
    torch.testing.assert_close(group_advantage(reward[:6], 6).value, whole[:6])


def test_scale_and_shift_of_the_reward_do_not_matter() -> None:
    reward = torch.rand(8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        group_advantage(reward, 8).value, group_advantage(3 * reward + 2, 8).value, rtol=1e-3, atol=1e-3
    )
