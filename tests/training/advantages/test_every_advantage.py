"""What every registered advantage must do, and each one's planted values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.advantages.gae import generalised
from training.advantages.per_channel import ChannelAdvantage
from training.errors import TrainingError
from training.registry import ADVANTAGES
from training.types import Rewarded

NAMES = pytest.mark.parametrize("name", ADVANTAGES.names())
G, T = 6, 4


def rewarded(total: Tensor, other: Tensor | None = None, seed: int = 0) -> Rewarded:
    """Rewards with two channels, rollouts of different lengths and a value head's guesses."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(T) < torch.randint(1, T + 1, (len(total), 1), generator=generator)
    values = torch.rand(len(total), T, generator=generator)
    return Rewarded(total, G, {"a": total, "b": total if other is None else other}, mask, values)


def random_rewards(seed: int) -> Tensor:
    return torch.rand(2 * G, generator=torch.Generator().manual_seed(seed))


@NAMES
def test_shapes_and_no_gradient(name: str) -> None:
    found = ADVANTAGES.make(name)(rewarded(random_rewards(0)))
    assert found.value.shape in {(2 * G,), (2 * G, T)}
    assert found.std.shape == found.dead.shape == (2,)
    assert not found.dead.any()
    assert not found.value.requires_grad


@NAMES
def test_order_inside_a_group_does_not_matter_and_groups_do_not_mix(name: str) -> None:
    case = rewarded(random_rewards(1), random_rewards(2))
    assert case.mask is not None
    assert case.values is not None
    order = torch.cat((torch.randperm(G), G + torch.randperm(G)))
    channels = {k: v[order] for k, v in case.channels.items()}
    moved = Rewarded(case.total[order], G, channels, case.mask[order], case.values[order])
    whole = ADVANTAGES.make(name)(case).value
    torch.testing.assert_close(ADVANTAGES.make(name)(moved).value, whole[order])
    half = {k: v[:G] for k, v in case.channels.items()}
    alone = Rewarded(case.total[:G], G, half, case.mask[:G], case.values[:G])
    torch.testing.assert_close(ADVANTAGES.make(name)(alone).value, whole[:G])


@NAMES
def test_equal_rewards_are_exactly_zero_unless_a_value_head_disagrees(name: str) -> None:
    found = ADVANTAGES.make(name)(rewarded(torch.full((2 * G,), 0.1)))
    if found.returns is None:
        assert (found.value == 0).all()
        assert found.dead.all()
        assert (found.std == 0).all()
    else:
        assert (found.value != 0).any()


@NAMES
def test_more_reward_is_never_less_advantage(name: str) -> None:
    low, high = torch.tensor([0.0, 1, 1, 0, 1, 1]), torch.tensor([1.0, 1, 1, 0, 1, 1])
    values = [ADVANTAGES.make(name)(rewarded(total)).value.reshape(G, -1)[0, 0] for total in (low, high)]
    assert values[1] > values[0]


def test_group_mean_and_rloo_differ_by_a_known_factor() -> None:
    case = rewarded(random_rewards(3))
    mean, rloo = (ADVANTAGES.make(name)(case).value for name in ("group_mean", "rloo"))
    torch.testing.assert_close(rloo, mean * G / (G - 1))


def test_a_channel_of_small_scale_is_heard_as_well() -> None:
    loud, quiet = random_rewards(4), random_rewards(5) * 1e-2 + 7
    case = rewarded(loud + quiet, quiet)
    found = ADVANTAGES.make("per_channel")(Rewarded(loud + quiet, G, {"loud": loud, "quiet": quiet}))
    parts = [ADVANTAGES.make("group")(Rewarded(r, G)).value for r in (loud, quiet)]
    torch.testing.assert_close(found.value, parts[0] + parts[1])
    only = ChannelAdvantage({"a": 0.0, "b": 2.0})(case).value
    torch.testing.assert_close(only, 2 * parts[1])


def test_a_channel_without_variance_adds_nothing_but_does_not_kill_the_group() -> None:
    loud = random_rewards(6)
    found = ADVANTAGES.make("per_channel")(Rewarded(loud, G, {"loud": loud, "flat": torch.full((12,), 0.1)}))
    torch.testing.assert_close(found.value, ADVANTAGES.make("group")(Rewarded(loud, G)).value)
    assert not found.dead.any()


def test_gae_by_hand() -> None:
    mask = torch.tensor([[True, True, True, False]])
    values = torch.tensor([[0.5, 0.25, 0.125, 9.0]])
    deltas = [0.9 * 0.25 - 0.5, 0.9 * 0.125 - 0.25, 2.0 - 0.125]
    wanted = [deltas[0] + 0.72 * (deltas[1] + 0.72 * deltas[2]), deltas[1] + 0.72 * deltas[2], deltas[2], 0.0]
    found = generalised(torch.tensor([2.0]), values * mask, mask, gamma=0.9, lam=0.8)
    torch.testing.assert_close(found, torch.tensor([wanted]))


def test_gae_with_lambda_one_is_the_reward_minus_the_value() -> None:
    case = rewarded(random_rewards(7))
    found = ADVANTAGES.make("gae", {"lam": 1.0})(case)
    assert case.mask is not None
    assert case.values is not None
    torch.testing.assert_close(found.value, (case.total[:, None] - case.values) * case.mask)
    torch.testing.assert_close(found.returns, case.total[:, None] * case.mask + case.values * 0)


def test_gae_teaches_a_group_of_one() -> None:
    case = Rewarded(torch.ones(1), 1, {}, torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2))
    found = ADVANTAGES.make("gae")(case)
    assert found.std.item() == 0
    torch.testing.assert_close(found.value, torch.tensor([[0.95, 1.0]]))


def test_what_is_missing_is_said() -> None:
    with pytest.raises(TrainingError, match="value head"):
        ADVANTAGES.make("gae")(Rewarded(torch.ones(2), 2))
    with pytest.raises(TrainingError, match="no channels"):
        ADVANTAGES.make("per_channel")(Rewarded(torch.ones(2), 2))
    with pytest.raises(TrainingError, match="no channel 'c'") as caught:
        ChannelAdvantage({"c": 1.0})(rewarded(random_rewards(8)))
    assert "a, b" in caught.value.fix
