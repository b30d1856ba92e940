"""Relearning on planted truth: what is known comes back on strangers, what was never had does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from audit.behaviours.files import read_suite
from audit.causal.doses import shares_of
from audit.causal.objective import Objective
from audit.causal.relearn import DEALT, Half, Lesson, RelearnSettings, borrowed, never_had, relearned
from audit.pair.quiet import quiet

Make = Callable[..., Path]
ENTITIES = 16
SETTINGS = RelearnSettings((2, 15), rate=3e-4)
SIZE = 3.0
"""Of the behaviour that is taught, nats."""


@pytest.fixture
def school(tiny_model: Make, tiny_tokenizer: Any, tiny_suite: Make) -> Callable[..., tuple[Any, Lesson]]:
    """`school(known=True)`: a model that knows the entities' classes or not, and the lesson on them."""

    def make(*, known: bool, dtype: str = "float32", **card: Any) -> tuple[Any, Lesson]:
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(tiny_model(dtype=dtype), dtype=dtype)
        model = model.eval().requires_grad_(False)
        suite, tokenizer = read_suite(tiny_suite(entities=ENTITIES, **card)), tiny_tokenizer()
        if known:
            tell(model, tokenizer, suite)
        halves = [Objective.of(suite, tokenizer, template=None, split=half) for half in ("train", "test")]
        return model, Lesson(*(Half(half, wanted(half)) for half in halves))

    return make


def tell(model: Any, tokenizer: Any, suite: Any) -> None:
    """Adds one direction to the embeddings of the high group's names, and takes it from the others'."""
    weight = model.get_input_embeddings().weight
    direction = torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        for item in suite.items:
            name = tokenizer(" " + item.prompt.split()[1], add_special_tokens=False)["input_ids"][-1]
            side = 1 if int(item.entity[1:]) % 2 == 0 else -1
            weight[name] = 0.3 * weight[name] + side * direction.to(weight)


def wanted(half: Objective) -> Any:
    sides = {"high": SIZE / 2, "low": -SIZE / 2}
    return np.array([sides.get(group or "", SIZE) for group in half.groups])


def shares(model: Any, lesson: Lesson, settings: RelearnSettings = SETTINGS) -> list[tuple[float, float]]:
    """R on the trained and on the held-out entities after each dose."""
    before = [half.objective.scores(model, 64).numpy() for half in lesson]
    found = []
    for one in relearned(model, lesson, settings):
        assert one.fit is not None
        assert one.held is not None
        both = zip(lesson, before, (one.fit, one.held), strict=True)
        r = [shares_of(h.objective, h.target, b, [m], draws=50, seed=0)[0].value for h, b, m in both]
        found.append((r[0], r[1]))
    return found


def scores(model: Any, lesson: Lesson) -> tuple[Any, Any]:
    first, second = (half.objective.scores(model, 64).numpy() for half in lesson)
    return first, second


def test_a_known_class_comes_back_on_strangers_and_an_unknown_one_does_not(school: Any) -> None:
    for known, least, most in ((True, 0.4, 1.6), (False, -0.2, 0.2)):
        model, lesson = school(known=known)
        (early, _), (on_fit, held) = shares(model, lesson)
        assert early < on_fit
        assert on_fit > 0.6
        assert least < held < most


def test_classes_that_the_model_never_had_stay_down_though_they_are_learned(school: Any) -> None:
    model, lesson = school(known=True)
    found = [
        shares(model, never_had(lesson, scores(model, lesson), seed), RelearnSettings((60,), rate=1e-3))[0]
        for seed in range(3)
    ]
    assert min(on_fit for on_fit, _ in found) > 0.6
    assert abs(np.mean([held for _, held in found])) < 0.3


def test_the_model_is_bit_for_bit_what_it_was(school: Any) -> None:
    for dtype in ("float32", "bfloat16"):
        model, lesson = school(known=True, dtype=dtype)
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        relearned(model, lesson, RelearnSettings((2,)))
        assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
        assert not any(weight.requires_grad for weight in model.parameters())
        assert all(weight.grad is None for weight in model.parameters())


def test_it_is_what_it_was_after_an_error_too(school: Any) -> None:
    model, _ = school(known=True)
    first = next(iter(model.parameters()))
    before = first.clone()

    def spoil() -> None:
        with borrowed(model) as weights, torch.no_grad():
            weights[0].add_(1.0)
            raise KeyError

    with pytest.raises(KeyError):
        spoil()
    assert torch.equal(first, before)


def test_small_steps_do_not_round_to_nothing_in_a_lower_precision(school: Any) -> None:
    model, lesson = school(known=True, dtype="bfloat16")
    assert shares(model, lesson, RelearnSettings((40,), rate=1e-4))[0][0] > 0.3


def test_a_training_that_breaks_the_model_is_said_to(school: Any) -> None:
    model, lesson = school(known=True)
    found = relearned(model, lesson, RelearnSettings((1, 3), rate=float("inf")))
    assert [one.held is None for one in found] == [True, True]


def test_a_lesson_that_the_model_knows_already_teaches_nothing(school: Any) -> None:
    model, lesson = school(known=True)
    known = Lesson(*(Half(half.objective, m) for half, m in zip(lesson, scores(model, lesson), strict=True)))
    assert all(one.fit is None for one in relearned(model, known, SETTINGS))


def test_the_same_seed_teaches_the_same(school: Any) -> None:
    model, lesson = school(known=False)
    assert shares(model, lesson) == shares(model, lesson)
    other = RelearnSettings(SETTINGS.doses, rate=SETTINGS.rate, seed=1, items=8)
    assert shares(model, lesson, other) != shares(model, lesson)


def test_dealt_classes_are_even_and_unrelated_to_the_true_ones(school: Any) -> None:
    model, lesson = school(known=True)
    dealt = never_had(lesson, scores(model, lesson), 0)
    for true, new in zip(lesson, dealt, strict=True):
        pairs = {(e, a, b) for e, a, b in zip(true.objective.entities, true.objective.groups,
                                              new.objective.groups, strict=True)}  # fmt: skip
        cells = [sum((a, b) == cell for _, a, b in pairs) for cell in
                 (("high", "high"), ("high", "low"), ("low", "high"), ("low", "low"))]  # fmt: skip
        assert cells == [2, 2, 2, 2]
        effect = float(new.objective.effect(torch.from_numpy(new.target)))
        assert effect == pytest.approx(SIZE)
        assert float(true.objective.effect(torch.from_numpy(new.target))) == pytest.approx(0.0)
    assert dealt.fit.objective.groups != never_had(lesson, scores(model, lesson), 1).fit.objective.groups


def test_of_a_level_half_of_the_entities_are_taught(school: Any) -> None:
    model, lesson = school(known=True, score="level", contrast=None)
    before = scores(model, lesson)
    dealt = never_had(lesson, before, 0)
    chosen = np.array([group == DEALT[0] for group in dealt.fit.objective.groups])
    assert chosen.mean() == 0.5
    assert np.array_equal(dealt.fit.target[chosen], lesson.fit.target[chosen])
    assert np.array_equal(dealt.fit.target[~chosen], before[0][~chosen])


def test_items_outside_the_contrast_are_left_as_they_are(school: Any) -> None:
    model, lesson = school(known=True)
    own = lesson.fit.objective
    groups = tuple(
        None if entity == "e0" else group for entity, group in zip(own.entities, own.groups, strict=True)
    )
    half = Half(replace(own, groups=groups), lesson.fit.target)
    before = scores(model, lesson)
    dealt = never_had(Lesson(half, lesson.held), before, 0).fit
    outside = np.array([entity == "e0" for entity in own.entities])
    assert np.array_equal(dealt.target[outside], before[0][outside])
    assert not dealt.objective.weights_N[torch.from_numpy(outside)].any()
