"""Exact numbers of a policy on a task, by listing every completion: reward, entropy, total variation, KL."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.envs.types import Sizes, Task


@dataclass(frozen=True)
class World:
    """Every completion of every prompt of a task, and what it earns."""

    prompt: Int[Tensor, " N"]
    """N = prompts x V^T, the completions of a prompt next to each other."""
    tokens: Int[Tensor, "N T"]
    reward: Float[Tensor, " N"]
    prompts: int

    @torch.no_grad()
    def log_probability(self, policy: nn.Module) -> Float[Tensor, "P M"]:
        """Log-probability of each of the M = V^T completions of each prompt."""
        return token_logp(policy, self.prompt, self.tokens).sum(dim=1).reshape(self.prompts, -1)

    def mean_reward(self, logp: Float[Tensor, "P M"]) -> float:
        """Expected reward, averaged over prompts."""
        return (logp.exp() * self.reward.reshape(logp.shape)).sum(dim=1).mean().item()

    def entropy(self, logp: Float[Tensor, "P M"]) -> float:
        """Entropy of whole completions, nats, averaged over prompts."""
        return -(logp.exp() * logp).sum(dim=1).mean().item()


def list_all(task: Task) -> World:
    """Every completion of every prompt of a task."""
    sizes = task.sizes
    one = every_completion(sizes)
    prompt = torch.arange(sizes.prompts).repeat_interleave(len(one))
    tokens = one.repeat(sizes.prompts, 1)
    return World(prompt, tokens, task.reward(prompt, tokens), sizes.prompts)


def every_completion(sizes: Sizes) -> Int[Tensor, "M T"]:
    """All V^T sequences of T tokens."""
    number = torch.arange(sizes.vocabulary**sizes.length)
    powers = sizes.vocabulary ** torch.arange(sizes.length - 1, -1, -1)
    return number[:, None] // powers % sizes.vocabulary


def token_logp(
    policy: nn.Module, prompt: Int[Tensor, " N"], tokens: Int[Tensor, "N T"]
) -> Float[Tensor, "N T"]:
    """Log-probability of each token given those before it."""
    logits: Tensor = policy(prompt, tokens)
    return torch.log_softmax(logits, dim=-1).gather(2, tokens[..., None]).squeeze(2)


def total_variation(old: Float[Tensor, "P M"], new: Float[Tensor, "P M"]) -> float:
    """Half the absolute difference of two distributions over whole completions, averaged over prompts."""
    return ((old.exp() - new.exp()).abs().sum(dim=1) / 2).mean().item()


def kl(old: Float[Tensor, "P M"], new: Float[Tensor, "P M"]) -> float:
    """KL(old || new) over whole completions, nats, averaged over prompts."""
    return (old.exp() * (old - new)).sum(dim=1).mean().item()


@torch.no_grad()
def sample(
    policy: nn.Module, prompt: Int[Tensor, " N"], sizes: Sizes, generator: torch.Generator
) -> tuple[Int[Tensor, "N T"], Float[Tensor, "N T"]]:
    """Completions of prompts and the log-probability of each token."""
    tokens = torch.zeros(len(prompt), sizes.length, dtype=torch.long)
    for place in range(sizes.length):
        probability = torch.softmax(policy(prompt, tokens)[:, place], dim=-1)
        tokens[:, place] = torch.multinomial(probability, 1, generator=generator).squeeze(1)
    return tokens, token_logp(policy, prompt, tokens)
