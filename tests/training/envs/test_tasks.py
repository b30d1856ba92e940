from __future__ import annotations

from math import log

import pytest
import torch

from training.envs.bandit import LongTailBandit
from training.envs.chain import Chain
from training.envs.copying import Copying
from training.envs.exact import every_completion, kl, list_all, sample, token_logp, total_variation
from training.envs.types import Sizes, Task

TASKS = [LongTailBandit(vocabulary=40, best_rank=20), Chain(length=4), Copying(prompts=3)]
ALL = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


@ALL
def test_probabilities_of_all_completions_add_up_to_one(task: Task) -> None:
    world = list_all(task)
    logp = world.log_probability(task.policy(0))
    sizes = task.sizes
    assert logp.shape == (sizes.prompts, sizes.vocabulary**sizes.length)
    torch.testing.assert_close(logp.exp().sum(dim=1), torch.ones(sizes.prompts), rtol=1e-4, atol=1e-4)


@ALL
def test_rewards_reach_one_and_stay_inside_the_unit_interval(task: Task) -> None:
    reward = list_all(task).reward
    assert reward.max() == 1
    assert reward.min() >= 0


@ALL
def test_a_token_depends_on_those_before_it_alone(task: Task) -> None:
    policy, sizes = task.policy(1), task.sizes
    world = list_all(task)
    last = world.tokens.clone()
    last[:, -1] = (last[:, -1] + 1) % sizes.vocabulary
    first, second = token_logp(policy, world.prompt, world.tokens), token_logp(policy, world.prompt, last)
    torch.testing.assert_close(first[:, :-1], second[:, :-1])


@ALL
def test_samples_have_the_exact_expected_reward(task: Task) -> None:
    policy, world = task.policy(2), list_all(task)
    prompt = torch.arange(task.sizes.prompts).repeat_interleave(4000 // task.sizes.prompts)
    tokens, logp = sample(policy, prompt, task.sizes, torch.Generator().manual_seed(0))
    torch.testing.assert_close(logp, token_logp(policy, prompt, tokens).detach())
    wanted = world.mean_reward(world.log_probability(policy))
    assert task.reward(prompt, tokens).mean().item() == pytest.approx(wanted, abs=0.03)


@ALL
def test_seeds_are_repeatable(task: Task) -> None:
    world = list_all(task)
    torch.testing.assert_close(
        world.log_probability(task.policy(3)), world.log_probability(task.policy(3)), rtol=0, atol=0
    )


def test_every_completion_in_order() -> None:
    assert every_completion(Sizes(1, 2, 2)).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_divergences_by_hand() -> None:
    old, new = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.25, 0.5, 0.25]])
    smallest = torch.tensor(1e-30)
    logs = [torch.maximum(p, smallest).log() for p in (old, new)]
    assert total_variation(*logs) == pytest.approx(0.25)
    assert kl(*logs) == pytest.approx(0.5 * log(2), rel=1e-5)
    assert kl(logs[0], logs[0]) == 0


def test_entropy_of_a_uniform_policy() -> None:
    task = LongTailBandit(vocabulary=32, best_rank=20, exponent=0.0)
    world = list_all(task)
    assert world.entropy(world.log_probability(task.policy(0))) == pytest.approx(log(32), rel=1e-5)


def test_an_early_deviation_costs_more_than_a_late_one() -> None:
    task = Chain()
    right = torch.arange(task.length)[None] % task.vocabulary
    for place in range(task.length):
        wrong = right.clone()
        wrong[0, place] = (wrong[0, place] + 1) % task.vocabulary
        assert task.reward(torch.zeros(1), wrong).item() == pytest.approx(place / task.length)


@pytest.mark.parametrize("place", [0, 2, 5])
def test_one_changed_token_moves_whole_completions_by_its_reach_times_its_own_shift(place: int) -> None:
    """Total variation does not compound: what an early change costs beyond a late one is reward."""
    task = Chain()
    world, policy = list_all(task), task.policy(0)
    old = world.log_probability(policy)
    before = torch.softmax(policy.table[place, 1] + policy.shared, dim=0)
    with torch.no_grad():
        policy.table[place, 1, 0] += 2
    after = torch.softmax(policy.table[place, 1] + policy.shared, dim=0)
    on_path = task.on_path(world.tokens)[:, place - 1] if place else torch.ones(len(world.tokens)).bool()
    reach = old.exp()[0, on_path].sum()
    wanted = reach * (before - after).abs().sum() / 2
    assert total_variation(old, world.log_probability(policy)) == pytest.approx(wanted.item(), rel=1e-4)
