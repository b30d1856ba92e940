"""The words that objectives, advantages, rollouts and the loop share.

Shapes: P prompts, L tokens of a prompt, B rollouts, T tokens of a completion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from training.config import GRPOConfig


@dataclass(frozen=True)
class Prompt:
    """One text that the policy continues."""

    id: str
    """Name of the item it was made from."""
    text: str
    """What the policy sees, a chat's template tokens included."""
    rendered: bool = False
    """Whether the text already holds its special tokens (a chat does), so that none are added."""


@dataclass(frozen=True)
class PromptBatch:
    """Tokenised prompts, padded on the left."""

    ids: Tensor
    """[P, L]."""
    mask: Tensor
    """True where there is a token [P, L]."""


@dataclass(frozen=True)
class Rollout:
    """Completions of P prompts, `group_size` each, in the order of the prompts."""

    prompts: PromptBatch
    group_size: int
    tokens: Tensor
    """Token ids [B, T], padded on the right; B = P * group_size."""
    mask: Tensor
    """True for sampled tokens, the end token included [B, T]."""
    sampler_logp: Tensor
    """Log-probability of each token when it was sampled, at that temperature; 0 at padding [B, T]."""


@dataclass(frozen=True)
class Scores:
    """What the policy says now about the tokens of a rollout."""

    logp: Tensor
    """Log-probability of each token, at the sampler's temperature, with gradient; 0 at padding [B, T]."""
    values: Tensor | None = None
    """What the value head expects before each token, with gradient; 0 at padding [B, T]."""


@dataclass(frozen=True)
class LossTerms:
    """What an objective asks for, token by token; how tokens are averaged is the loop's affair.

    `weight` and `keep` are the language that all methods share: the gradient of `per_token` is
    -weight * advantage * grad log p where `keep` is true, and 0 elsewhere.
    """

    per_token: Tensor
    """Loss of each token, to be minimised, with gradient [B, T]."""
    weight: Tensor
    """How hard the token trains, as a factor of its advantage, without gradient [B, T]."""
    keep: Tensor
    """False where the objective cut the token's gradient [B, T]."""
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    """Named numbers worth logging, over real tokens."""


Aggregation = Literal["sequence_mean", "token_mean", "constant"]
"""How the loop averages an objective's tokens: each rollout's mean and then the mean of these; one mean over
all tokens; or the sum over rollouts x new_tokens, so that a rollout's length has no say."""


def without_lag(lag: int) -> bool:
    """Whether rollouts are never older than the policy that learns from them: every ratio is 1.

    Args:
        lag: most updates between the policy that sampled a rollout and the policy that an update starts from;
            inner epochs - 1, plus the updates by which the actor runs behind.
    """
    return lag == 0


@dataclass(frozen=True)
class MethodCard:
    """What a reader must know of a method before believing a run of it."""

    name: str
    """Short unique name, by which commands call it; acronyms collide, so `arxiv` says which method it is."""
    sources: tuple[str, ...]
    """Papers and equations, or the code that was read."""
    formula: str
    """Loss of a token: r = pi / mu, A the advantage, sg = without gradient."""
    inert_when: str
    """Under which setting the method is the same function as plain policy gradient."""
    title: str = ""
    """The method's name in full."""
    arxiv: str = ""
    """Id of the paper that defines it."""
    claim_seed: str = ""
    """What articles say of it."""
    claim_paper: str = ""
    """What the paper says."""
    clashes: str = ""
    """Other methods that go by the same letters."""
    aliases: tuple[str, ...] = ()
    """Other names by which commands find it."""
    needs: frozenset[str] = frozenset()
    """What the loop must provide beyond the tokens' log-probabilities: values, ..."""
    aggregation: Aggregation = "sequence_mean"
    advantage: str = "group"
    """Name of the advantage that the paper uses."""
    believes: str = ""
    """Which divergence the method bounds, as it estimates it; empty where it bounds none."""
    inert: Callable[[int], bool] = without_lag
    """`inert_when` as a predicate of the lag (see `without_lag`)."""


@dataclass(frozen=True)
class Rewarded:
    """What an advantage is made from: rewards of P groups of `group_size` rollouts, B = P * group_size."""

    total: Tensor
    """Reward of each rollout, the rollouts of a group next to each other [B]."""
    group_size: int
    channels: Mapping[str, Tensor] = field(default_factory=dict)
    """The reward's parts, each [B]."""
    mask: Tensor | None = None
    """True for real tokens [B, T]; advantages per token need it."""
    values: Tensor | None = None
    """What a value head expected before each token [B, T]; advantages with a critic need it."""


@dataclass(frozen=True)
class Advantages:
    """How much better each rollout, or each of its tokens, was than expected."""

    value: Tensor
    """[B], or [B, T] where tokens of one rollout differ; exactly 0 throughout a dead group."""
    std: Tensor
    """Standard deviation (n - 1) of each group's total rewards [P]; 0 for groups of one."""
    dead: Tensor
    """True where a group teaches nothing: its rollouts got the same rewards [P]."""
    returns: Tensor | None = None
    """What a value head should have expected [B, T]; with a critic only."""


class Advantage(Protocol):
    """A rule that turns rewards into advantages.

    One that reads a value head's expectations says so: `needs = frozenset({"values"})`.
    """

    name: ClassVar[str]

    def __call__(self, rewarded: Rewarded) -> Advantages:
        """The advantages of some groups."""
        ...


class Objective(Protocol):
    """A rule that turns log-probabilities and advantages into a loss per token."""

    card: ClassVar[MethodCard]

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms of a rollout; `advantage` has shape [B], or [B, T] where tokens differ."""
        ...
