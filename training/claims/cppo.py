"""Claims on CPPO."""

from __future__ import annotations

import torch

from training.claims.bench import Bench, efficiency, superior
from training.claims.types import Claim, Finding, decide
from training.envs.chain import Chain, ChainPolicy
from training.envs.exact import World, list_all, total_variation

SHIFT = 0.2


def early_drifts_more(bench: Bench) -> Finding:
    """Exact total variation of whole completions after one shift at the first, and at the last token."""
    drift, _ = _early_over_late()
    said = f"a shift of {SHIFT} moves completions {drift:.2f} times as far at the first token as at the last"
    return Finding(decide(drift > 1.1), said, {"early_over_late": drift})


def early_costs_more(bench: Bench) -> Finding:
    """Lost reward after the same shifts."""
    _, loss = _early_over_late()
    said = f"a shift of {SHIFT} costs {loss:.1f} times as much reward at the first token as at the last"
    return Finding(decide(loss > 1.1), said, {"early_over_late": loss})


def _early_over_late() -> tuple[float, float]:
    task = Chain()
    world = list_all(task)
    early, late = (_moved(task, world, place) for place in (0, task.length - 1))
    return early[0] / late[0], early[1] / late[1]


def _moved(task: Chain, world: World, place: int) -> tuple[float, float]:
    """Exact total variation and lost reward after the right token at a place lost `SHIFT` of probability."""
    policy = ChainPolicy(task, torch.Generator().manual_seed(0))
    right = torch.arange(task.length) % task.vocabulary
    with torch.no_grad():
        policy.table.zero_()
        policy.table[torch.arange(task.length), 1, right] = 8.0
        old = world.log_probability(policy)
        before = torch.softmax(policy.table[place, 1], dim=0)[right[place]]
        wanted = before - SHIFT
        policy.table[place, 1, right[place]] += torch.logit(wanted) - torch.logit(before)
        new = world.log_probability(policy)
    return total_variation(old, new), world.mean_reward(old) - world.mean_reward(new)


def better_than_dppo(bench: Bench) -> Finding:
    """What a run earns."""
    return superior(bench, "cppo", "dppo_tv", efficiency, "mean reward of a run")


def better_than_grpo(bench: Bench) -> Finding:
    """What a run earns."""
    return superior(bench, "cppo", "grpo", efficiency, "mean reward of a run")


REWARD = "exact reward over a run, which falls with every collapse"
CLAIMS = (
    Claim(
        "cppo",
        "paper",
        "a deviation drifts whole completions further when it is early",
        "exact total variation after one equal shift at the first and at the last token of a chain",
        early_drifts_more,
    ),
    Claim(
        "cppo",
        "paper",
        "a deviation costs more when it is early",
        "exact lost reward after the same shifts, where a wrong token spoils all after it",
        early_costs_more,
    ),
    Claim("cppo", "paper", "more stable and accurate than DPPO", REWARD, better_than_dppo),
    Claim("cppo", "paper", "more stable and accurate than GRPO", REWARD, better_than_grpo),
)
