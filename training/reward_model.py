"""A Bradley-Terry reward model: what the texts of a prompt are worth, learnt from preference pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from training.config import PreferenceConfig
from training.critic import ValueHead, unembedded
from training.errors import TrainingError
from training.model import CausalLM, base_of, hidden_size, trained
from training.policy import make_policy
from training.preferences import Completed, Judged, PreferencePair, descend, tokenised
from training.records import StepRecord
from training.rewards import GroupReward
from training.rollouts import prompt_ids
from training.types import Prompt

HEAD = "reward_head.safetensors"


class RewardModel(nn.Module):
    """A linear reading of the last token's residual stream."""

    def __init__(self, model: CausalLM, seed: int = 0) -> None:
        """A reward model on a language model, whose unembedding it does not use.

        Args:
            model: with an adapter, or bare to train whole.
            seed: of the head's start.
        """
        super().__init__()
        self.model = model
        width = hidden_size(model)
        self.head = ValueHead(width).to(base_of(model).device)
        # A head of zeros would pass the trunk no gradient in the first step.
        start = torch.randn(1, width, generator=torch.Generator().manual_seed(seed))
        self.head.linear.weight.data.copy_(start)

    def forward(self, texts: Sequence[Completed]) -> Float[Tensor, " B"]:
        """The reward of each text."""
        rows = [(*text.prompt, *text.completion) for text in texts]
        width, device = max(map(len, rows)), base_of(self.model).device
        ids = torch.tensor([[*[0] * (width - len(row)), *row] for row in rows], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
        places = (mask.cumsum(1) - 1).clamp(min=0)
        # Padded on the left, so that the last place is every text's last token.
        with unembedded(self.model) as seen:
            self.model(
                input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False, logits_to_keep=1
            )
        return cast(Tensor, self.head(seen[0][:, -1]))


def bradley_terry_loss(chosen: Float[Tensor, " B"], rejected: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """-log sigmoid(r(chosen) - r(rejected)) of each pair. Ouyang et al. 2022, arXiv 2203.02155, eq. 1."""
    return -torch.nn.functional.logsigmoid(chosen - rejected)


def train_reward(
    reward: RewardModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[PreferencePair],
    config: PreferenceConfig,
) -> Iterator[StepRecord]:
    """Trains a reward model in place.

    Channels of the records: `margin`, reward of the chosen minus that of the rejected text, and `accuracy`.

    Raises:
        TrainingError: a pair is malformed, the loss is no longer finite, or memory runs out.
    """
    context = make_policy(reward.model, tokenizer).context
    found = tokenised(tokenizer, pairs, room=context, end=False)

    def loss_of(numbers: Sequence[int]) -> Judged:
        some = [found[i] for i in numbers]
        both = reward([pair.chosen for pair in some] + [pair.rejected for pair in some]).reshape(2, -1)
        margin = (both[0] - both[1]).detach()
        loss = bradley_terry_loss(both[0], both[1]).mean()
        return Judged(loss, {"margin": margin, "accuracy": (margin > 0).float()})

    parameters = [*trained(reward.model), *reward.head.parameters()]
    yield from descend(parameters, loss_of, len(found), config)


@dataclass(frozen=True, eq=False)
class ModelReward:
    """A reward model as the loop's judge: one channel, the whole completion is read."""

    folder: str
    """Where the reward model lies, or a name for it."""
    sha256: str = ""
    """Of the saved head, which no two trainings share."""
    model: RewardModel | None = field(default=None, repr=False)
    tokenizer: PreTrainedTokenizerBase | None = field(default=None, repr=False)
    channels: tuple[str, ...] = ("reward_model",)

    def for_prompt(self, prompt: Prompt) -> _PromptJudge:
        """The judge of this prompt's completions."""
        return _PromptJudge(self, prompt)


@dataclass(frozen=True, eq=False)
class _PromptJudge:
    reward: ModelReward
    prompt: Prompt
    channels: tuple[str, ...] = ("reward_model",)

    @torch.no_grad()
    def __call__(self, completions: Sequence[str]) -> GroupReward:
        """The rewards of one group."""
        model, tokenizer = self.reward.model, self.reward.tokenizer
        if model is None or tokenizer is None:
            raise TrainingError(
                "the reward model is not loaded", where=self.reward.folder, fix="load it with load_reward"
            )
        prompt = tuple(prompt_ids(tokenizer, self.prompt, sum(map(len, completions)) + 10**9))
        texts = [Completed(prompt, tuple(_encoded(tokenizer, text))) for text in completions]
        value = tuple(model(texts).tolist())
        return GroupReward(value, {"reward_model": value}, tuple(map(len, completions)))


def save_reward(reward: RewardModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the trunk (an adapter is merged into it), the tokenizer and the head into a folder."""
    model: Any = reward.model
    whole = model.merge_and_unload() if isinstance(model, PeftModel) else model
    whole.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    head = {name: value.detach().cpu() for name, value in reward.head.state_dict().items()}
    save_file(head, folder / HEAD)


def load_reward(folder: str, device: str = "cpu") -> ModelReward:
    """A reward model that `save_reward` wrote, as the loop's judge.

    Raises:
        TrainingError: the folder holds none.
    """
    path = Path(folder)
    if not (path / HEAD).is_file():
        raise TrainingError(
            "there is no reward model in this folder",
            where=folder,
            fix="make one with audit train reward-model",
        )
    model: Any = AutoModelForCausalLM.from_pretrained(path)
    reward = RewardModel(model.to(device).eval())
    reward.head.load_state_dict(load_file(path / HEAD))
    sha256 = hashlib.sha256((path / HEAD).read_bytes()).hexdigest()
    return ModelReward(folder, sha256, reward.to(device), AutoTokenizer.from_pretrained(path))


def _encoded(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return cast(list[int], tokenizer.encode(text, add_special_tokens=False))
