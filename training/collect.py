"""One batch of rollouts: sampled, judged, cut to what the reward read, dead groups replaced."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.config import LoopConfig
from training.critic import ValueHead, score_with_values
from training.errors import TrainingError
from training.memory import memory_for
from training.policy import Policy
from training.records import ChannelReward
from training.rewards import GroupReward, PromptReward, Reward
from training.rollouts import Sampler, encode, sample
from training.team import ALONE, Team
from training.types import Advantage, Prompt, PromptBatch, Rewarded, Rollout


@dataclass(frozen=True)
class Source:
    """Where batches come from."""

    policy: Policy
    prompts: Sequence[Prompt]
    """Drawn without replacement until all were used."""
    reward: Reward | PromptReward
    advantage: Advantage
    config: LoopConfig
    choices: torch.Generator
    """Randomness of the draw of prompts, on the CPU; every process of a team draws the same."""
    sampling: torch.Generator
    """Randomness of the rollouts, on the model's device."""
    critic: ValueHead | None = None
    team: Team = ALONE


@dataclass(frozen=True)
class Chunk:
    """Live groups that were sampled together."""

    rollout: Rollout
    advantage: Tensor
    """[B], or [B, T] where tokens differ."""
    returns: Tensor | None = None
    """What the value head should have expected [B, T]; with a critic only."""


@dataclass(frozen=True)
class Batch:
    """What one step, or several inner epochs, train on."""

    chunks: tuple[Chunk, ...]
    channels: tuple[ChannelReward, ...]
    sampled_groups: int
    live_groups: int


@dataclass(frozen=True)
class Judged:
    """Groups with their rewards; tokens that follow the reward's decision are masked."""

    rollout: Rollout
    rewards: tuple[GroupReward, ...]


def collect(source: Source) -> Batch:
    """Samples groups until `prompts_per_step` of them teach something or `max_draws` is reached.

    In a team every process samples its share of the prompts; counts and means are the team's.
    """
    config, team = source.config, source.team
    wanted = config.prompts_per_step // team.size
    order = cycle(torch.randperm(len(source.prompts), generator=source.choices).tolist())
    own = islice(order, team.rank, None, team.size)
    chunks: list[Chunk] = []
    rewards: list[GroupReward] = []
    live = 0
    for _ in range(config.max_draws):
        drawn = [source.prompts[index] for index in islice(own, wanted - live)]
        # Prompts of like length go through the model together, so that little of what is read is padding.
        drawn.sort(key=lambda prompt: len(prompt.text))
        for part in _parts(drawn, config.groups_per_pass):
            judged = judge(source.policy, _sample(source, part), source.reward, part)
            rewards += judged.rewards
            chunk = live_part(judged, source.advantage, _values(source, judged.rollout))
            if chunk is not None:
                chunks.append(chunk)
                live += len(chunk.advantage) // config.group_size
        if live >= wanted:
            break
    return _of_team(Batch(tuple(chunks), channel_means(rewards), len(rewards), live), team)


def _of_team(batch: Batch, team: Team) -> Batch:
    """The batch with the counts and the mean rewards of the whole team."""
    if team.size == 1:
        return batch
    sampled, live = team.totals(batch.sampled_groups, batch.live_groups)
    parts = team.gather(
        [(c.reward * batch.sampled_groups, c.std * batch.sampled_groups) for c in batch.channels]
    )
    means = [
        [sum(column) / sampled for column in zip(*rows, strict=True)] for rows in zip(*parts, strict=True)
    ]
    channels = tuple(ChannelReward(c.channel, *mean) for c, mean in zip(batch.channels, means, strict=True))
    return Batch(batch.chunks, channels, int(sampled), int(live))


def judge(
    policy: Policy, rollout: Rollout, reward: Reward | PromptReward, prompts: Sequence[Prompt]
) -> Judged:
    """Rewards each group and masks the tokens that its reward did not read.

    Given the tokens up to the decision the reward is a constant, so the later tokens' gradient is zero in
    expectation and noise in any sample: masking them changes the variance alone. A completion that was never
    decided (it shows no pronoun, say) keeps all its tokens.

    Raises:
        TrainingError: the reward is not a finite number.
    """
    rows = [row[kept].tolist() for row, kept in zip(rollout.tokens, rollout.mask, strict=True)]
    texts = [_decode(policy.tokenizer, row) for row in rows]
    groups = (texts[i : i + rollout.group_size] for i in range(0, len(texts), rollout.group_size))
    rewards = tuple(judge_of(reward, prompt)(group) for prompt, group in zip(prompts, groups, strict=True))
    if not all(math.isfinite(value) for group in rewards for value in group.total):
        raise TrainingError(
            "the reward is not a finite number", where=type(reward).__name__, fix="mend the reward"
        )
    decided = [length for group in rewards for length in group.decided]
    lengths = torch.tensor(
        [_tokens_for(policy.tokenizer, *item) for item in zip(rows, texts, decided, strict=True)],
        device=rollout.tokens.device,
    )
    places = torch.arange(rollout.tokens.shape[1], device=lengths.device)
    return Judged(replace(rollout, mask=rollout.mask & (places < lengths[:, None])), rewards)


def live_part(judged: Judged, advantage: Advantage, values: Tensor | None = None) -> Chunk | None:
    """The groups that teach something, with their advantages; None where every group is dead.

    Args:
        judged: P groups.
        advantage: makes advantages from their rewards.
        values: what a value head expects before each token [B, T]; with a critic only.
    """
    rollout = judged.rollout
    found = advantage(_rewarded(judged, values))
    if found.dead.all():
        return None
    rows = (~found.dead).repeat_interleave(rollout.group_size)
    width = int(rollout.mask[rows].any(dim=0).sum())
    kept = Rollout(
        PromptBatch(rollout.prompts.ids[~found.dead], rollout.prompts.mask[~found.dead]),
        rollout.group_size,
        *(part[rows, :width] for part in (rollout.tokens, rollout.mask, rollout.sampler_logp)),
    )
    value = found.value[rows]
    returns = None if found.returns is None else found.returns[rows, :width]
    return Chunk(kept, value if value.dim() == 1 else value[:, :width], returns)


def _rewarded(judged: Judged, values: Tensor | None) -> Rewarded:
    device, groups = judged.rollout.tokens.device, judged.rewards

    def row(channel: str | None) -> Tensor:
        parts = (group.total if channel is None else group.channels[channel] for group in groups)
        return torch.tensor([value for part in parts for value in part], device=device)

    channels = {name: row(name) for name in groups[0].channels}
    return Rewarded(row(None), judged.rollout.group_size, channels, judged.rollout.mask, values)


def _values(source: Source, rollout: Rollout) -> Tensor | None:
    if source.critic is None:
        return None
    with torch.no_grad(), source.team.autocast():
        return score_with_values(
            source.policy.model, source.critic, rollout, source.config.temperature
        ).values


def channel_means(rewards: Sequence[GroupReward]) -> tuple[ChannelReward, ...]:
    """Mean and mean within-group standard deviation of every channel and of the total."""
    names = ("total", *rewards[0].channels)
    table = [
        torch.tensor([group.total if name == "total" else group.channels[name] for group in rewards])
        for name in names
    ]
    return tuple(
        ChannelReward(name, values_PG.mean().item(), values_PG.std(dim=1).mean().item())
        for name, values_PG in zip(names, table, strict=True)
    )


def judge_of(reward: Reward | PromptReward, prompt: Prompt) -> Reward:
    """The judge of one prompt's completions."""
    return reward.for_prompt(prompt) if isinstance(reward, PromptReward) else reward


def _sample(source: Source, prompts: Sequence[Prompt]) -> Rollout:
    config, policy = source.config, source.policy
    sampler = Sampler(config.new_tokens, config.temperature, policy.stop_ids)
    encoded = encode(policy.tokenizer, prompts, room=policy.context - config.new_tokens, device=policy.device)
    lower = ("groups_per_pass", "group_size", "new_tokens")
    with memory_for("sampling", config, *lower), source.team.autocast():
        return sample(policy.model, encoded, config.group_size, sampler, source.sampling)


def _tokens_for(tokenizer: PreTrainedTokenizerBase, ids: list[int], text: str, characters: int) -> int:
    if characters >= len(text):
        return len(ids)
    return next(n for n in range(len(ids) + 1) if len(_decode(tokenizer, ids[:n])) >= characters)


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _parts(prompts: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    return (prompts[i : i + size] for i in range(0, len(prompts), size))
