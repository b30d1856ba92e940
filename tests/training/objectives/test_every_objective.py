"""What every registered objective must do; a new method is tested without a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from training.config import GRPOConfig
from training.registry import ADVANTAGES, OBJECTIVES
from training.types import LossTerms, PromptBatch, Rewarded, Rollout, Scores

CONFIG = GRPOConfig(clip=0.2)
B, T = 8, 5
METHODS = pytest.mark.parametrize("name", OBJECTIVES.names())
DOUBLE = torch.float64


def rollout(sampler_logp: Tensor, mask: Tensor) -> Rollout:
    prompts = PromptBatch(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.bool))
    tokens = torch.zeros(mask.shape, dtype=torch.long)
    return Rollout(prompts, len(mask), tokens, mask, sampler_logp.masked_fill(~mask, 0.0))


def case(seed: int, spread: float = 0.4) -> tuple[Tensor, Rollout, Tensor]:
    """Log-probabilities of a policy that moved, rollouts of different lengths, advantages of both signs."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(T) < torch.randint(1, T + 1, (B, 1), generator=generator)
    old = -0.05 - torch.rand(B, T, generator=generator, dtype=DOUBLE) * 3
    moved = old + spread * torch.randn(B, T, generator=generator, dtype=DOUBLE)
    advantage = torch.randn(B, generator=generator, dtype=DOUBLE)
    return moved.clamp(max=-0.01).masked_fill(~mask, 0.0), rollout(old, mask), advantage


def terms_of(name: str, new: Tensor, roll: Rollout, advantage: Tensor) -> LossTerms:
    return OBJECTIVES.make(name)(Scores(new), roll, advantage, CONFIG)


def gradient_of(name: str, new: Tensor, roll: Rollout, advantage: Tensor) -> tuple[Tensor, LossTerms]:
    new = new.clone().requires_grad_()
    terms = terms_of(name, new, roll, advantage)
    (gradient,) = torch.autograd.grad(terms.per_token.sum(), new)
    return gradient, terms


@contextmanager
def held_detached(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Everything detached keeps its first value; the yielded function rewinds to the first of them."""
    kept: list[Tensor] = []
    place = 0
    plain = torch.Tensor.detach

    def detach(tensor: Tensor) -> Tensor:
        nonlocal place
        if place == len(kept):
            kept.append(plain(tensor))
        place += 1
        return kept[place - 1]

    def rewind() -> None:
        nonlocal place
        place = 0

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "detach", detach)
        yield rewind


@METHODS
@pytest.mark.parametrize("seed", range(4))
def test_gradient_equals_finite_differences(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Central differences of the loss, with what carries no gradient held at its value."""
    new, roll, advantage = case(seed)
    gradient, _ = gradient_of(name, new, roll, advantage)
    step = 1e-6
    with held_detached(monkeypatch) as rewind:
        terms_of(name, new, roll, advantage)
        for row, place in roll.mask.nonzero().tolist():
            values = []
            for sign in (1, -1):
                rewind()
                nudged = new.clone()
                nudged[row, place] += sign * step
                values.append(terms_of(name, nudged, roll, advantage).per_token.sum())
            slope = (values[0] - values[1]) / (2 * step)
            assert slope.item() == pytest.approx(gradient[row, place].item(), rel=1e-4, abs=1e-6)


@METHODS
@pytest.mark.parametrize("seed", range(4))
def test_weight_and_keep_tell_the_gradient(name: str, seed: int) -> None:
    new, roll, advantage = case(seed)
    gradient, terms = gradient_of(name, new, roll, advantage)
    torch.testing.assert_close(gradient, -terms.weight * terms.keep * advantage[:, None])
    assert (terms.weight[~terms.keep] == 0).all()
    assert not terms.keep[~roll.mask].any()
    assert not terms.weight.requires_grad


@METHODS
def test_masked_tokens_change_nothing(name: str) -> None:
    new, roll, advantage = case(1)
    disturbed = torch.where(roll.mask, new, torch.full_like(new, -3.0))
    first, second = (gradient_of(name, values, roll, advantage) for values in (new, disturbed))
    torch.testing.assert_close(first[0], second[0])
    for field in ("per_token", "weight", "keep"):
        torch.testing.assert_close(getattr(first[1], field), getattr(second[1], field))
    assert first[1].diagnostics == second[1].diagnostics
    assert (first[1].per_token[~roll.mask] == 0).all()


@METHODS
def test_longer_padding_changes_nothing(name: str) -> None:
    new, roll, advantage = case(1)
    wide = torch.nn.functional.pad
    padded = rollout(wide(roll.sampler_logp, (0, 3)), wide(roll.mask, (0, 3)))
    first = terms_of(name, new, roll, advantage)
    second = terms_of(name, wide(new, (0, 3)), padded, advantage)
    torch.testing.assert_close(first.per_token, second.per_token[:, :T])
    torch.testing.assert_close(first.weight, second.weight[:, :T])


@METHODS
def test_order_inside_the_group_changes_nothing(name: str) -> None:
    new, roll, advantage = case(2)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(0))
    moved = rollout(roll.sampler_logp[order], roll.mask[order])
    first, second = terms_of(name, new, roll, advantage), terms_of(name, new[order], moved, advantage[order])
    for field in ("per_token", "weight", "keep"):
        torch.testing.assert_close(getattr(first, field)[order], getattr(second, field))
    assert first.diagnostics == pytest.approx(second.diagnostics)


@METHODS
def test_no_reward_variance_no_gradient(name: str) -> None:
    new, roll, _ = case(3)
    equal = torch.full((B,), 0.1, dtype=DOUBLE)  # the float mean of eight times 0.1 need not be 0.1
    for advantage in ("group", "group_mean", "rloo"):
        value = ADVANTAGES.make(advantage)(Rewarded(equal, B)).value
        gradient, terms = gradient_of(name, new, roll, value)
        assert (gradient == 0).all()
        assert (terms.per_token == 0).all()


@METHODS
@pytest.mark.parametrize("old", [-20.0, -60.0, -200.0, -1e4])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_finite_as_the_behaviour_probability_goes_to_zero(name: str, old: float, advantage: float) -> None:
    mask = torch.ones(2, 2, dtype=torch.bool)
    roll = rollout(torch.tensor([[old, -1.0], [-1.0, old]]), mask)
    new = torch.tensor([[-1.0, old], [old, -1e-3]])
    gradient, terms = gradient_of(name, new, roll, torch.tensor([advantage, -advantage]))
    assert gradient.isfinite().all()
    for field in (terms.per_token, terms.weight, torch.tensor(list(terms.diagnostics.values()))):
        assert field.isfinite().all()
    torch.testing.assert_close(gradient, -terms.weight * torch.tensor([[advantage], [-advantage]]))


@METHODS
def test_plain_policy_gradient_at_ratio_one_where_the_card_says_so(name: str) -> None:
    _, roll, advantage = case(4)
    gradient, _ = gradient_of(name, roll.sampler_logp, roll, advantage)
    plain = -advantage[:, None] * roll.mask
    assert torch.allclose(gradient, plain) is OBJECTIVES.find(name).card.inert(0)


@METHODS
def test_once_the_policy_has_moved_it_is_plain_only_where_the_card_says_so(name: str) -> None:
    new, roll, advantage = case(5, spread=1.0)
    gradient, _ = gradient_of(name, new, roll, advantage)
    plain = -advantage[:, None] * roll.mask
    assert torch.allclose(gradient, plain) is OBJECTIVES.find(name).card.inert(1)


@METHODS
def test_advantages_per_token_are_taken(name: str) -> None:
    new, roll, advantage = case(6)
    first = terms_of(name, new, roll, advantage)
    second = terms_of(name, new, roll, advantage[:, None].expand(B, T))
    torch.testing.assert_close(first.per_token, second.per_token)


@METHODS
def test_in_single_precision_as_in_double(name: str) -> None:
    new, roll, advantage = case(7)
    single = rollout(roll.sampler_logp.float(), roll.mask)
    torch.testing.assert_close(
        terms_of(name, new, roll, advantage).per_token.float(),
        terms_of(name, new.float(), single, advantage.float()).per_token,
        rtol=1e-4,
        atol=1e-5,
    )


@METHODS
def test_card_says_what_a_reader_needs(name: str) -> None:
    found: Any = OBJECTIVES.find(name)
    card = found.card
    assert card.title
    assert card.arxiv[:10] in " ".join(card.sources)
    assert card.formula
    assert card.inert_when
    assert card.claim_paper
    assert card.advantage in ADVANTAGES.names()
    new, roll, advantage = case(8)
    assert ("believed" in terms_of(name, new, roll, advantage).diagnostics) is bool(card.believes)
