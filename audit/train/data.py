"""What a training run learns from: prompts of a suite and a reward."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from audit.behaviours.chat import render_chat
from audit.behaviours.suite import Suite
from audit.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from training.reward_model import ModelReward
    from training.rewards import ContinuationParity, PronounParity
    from training.types import Prompt

    AnyReward: TypeAlias = PronounParity | ContinuationParity | ModelReward


def prompts_of(suite: Suite, tokenizer: PreTrainedTokenizerBase, form: str) -> list[Prompt]:
    """The training half of a suite as prompts, in plain form, chat form or both."""
    from training.types import Prompt

    items = [item for item in suite.items if item.split == "train"]
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None
    found: list[Prompt] = []
    if form in ("plain", "both"):
        found += [Prompt(item.id, item.prompt) for item in items if item.prompt]
    if form in ("chat", "both") and template:
        texts = (
            (item.id, render_chat(tokenizer, item.messages, template)) for item in items if item.messages
        )
        found += [Prompt(name, text, rendered=True) for name, text in texts]
    if not found:
        raise UsageError(
            f"The suite has no training prompts in {form} form for this model.",
            where=f"suite {suite.card.name!r}",
            fix="choose another --form, or a suite with items of split 'train'",
        )
    return found


def reward_of(suite: Suite, choice: str) -> PronounParity | ContinuationParity:
    """The reward that `--reward` names; `auto` rewards even pronouns where a suite's continuations are such.

    Raises:
        TrainingError: the suite's two sides share a continuation.
    """
    from training.rewards import ContinuationParity, PronounParity, is_pronoun

    showing = tuple(dict.fromkeys(text for item in suite.items for text in item.showing))
    other = tuple(dict.fromkeys(text for item in suite.items for text in item.not_showing))
    if choice == "auto":
        choice = "pronoun-parity" if all(map(is_pronoun, showing + other)) else "suite-parity"
    return PronounParity() if choice == "pronoun-parity" else ContinuationParity(showing, other)


def check_reach(reward: AnyReward, tokenizer: PreTrainedTokenizerBase, new: int) -> None:
    """Refuses rollouts too short for a side: no group could ever be even."""
    from training.rewards import ContinuationParity

    if not isinstance(reward, ContinuationParity):
        return
    for name in ("showing", "not_showing"):
        texts = getattr(reward, name)
        needed = min(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
        if needed > new:
            raise UsageError(
                f"Rollouts of {new} token(s) cannot hold any continuation of the side {name!r}.",
                where="--new-tokens",
                fix=f"sample at least {needed} tokens",
            )
